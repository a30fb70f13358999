package capture_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"

	"halfopen/capture"
)

// readAll reads a file to its very end; a torn block is an error.
func readAll(path string) (packets int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		return 0, err
	}
	for {
		_, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return packets, nil
		}
		if err != nil {
			return packets, fmt.Errorf("%s, behind %d packets: %w", path, packets, err)
		}
		packets++
	}
}

func made(n int, name string) capture.Packet {
	raw := bytes.Repeat([]byte{byte(n)}, 54)
	return capture.Packet{Time: time.Unix(1_700_000_000, int64(n)), Interface: name, Way: capture.Out, Length: 1514, Raw: raw, Ethernet: name != "wg0"}
}

// Files are closed at their size, the newest are kept, each can be read alone, and
// what is told of them is true.
func TestRing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := ringIn(dir, 20_000, 3)
	var closed, removed []string
	told := map[string]capture.File{}
	r.Closed = func(f capture.File) {
		closed = append(closed, filepath.Base(f.Path))
		told[filepath.Base(f.Path)] = f
	}
	r.Removed = func(f capture.File) { removed = append(removed, filepath.Base(f.Path)) }
	const total = 2000
	for i := range total {
		if err := r.Write("a", made(i, []string{"eth0", "wg0"}[i%2])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.pcapng"))
	if err != nil || len(files) != 3 || len(removed) != len(closed)-3 || len(closed) < 8 {
		t.Fatalf("%v are left of %v, %v removed, %v", files, closed, removed, err)
	}
	if !slices.Equal(removed, closed[:len(removed)]) {
		t.Errorf("removed %v, not the oldest of %v", removed, closed)
	}
	sum := 0
	for name, f := range told {
		sum += int(f.Packets)
		if slices.Contains(removed, name) {
			continue
		}
		st, err := os.Stat(f.Path)
		if err != nil || st.Size() != f.Bytes || f.Bytes > 20_400 {
			t.Errorf("%s: %v bytes, told %d, %v", name, st, f.Bytes, err)
		}
		if n, err := readAll(f.Path); err != nil || n != int(f.Packets) {
			t.Errorf("%s: %d packets, told %d, %v", name, n, f.Packets, err)
		}
		if rows := tshark(t, f.Path, "frame.interface_name", "frame.packet_flags_direction"); len(rows) != int(f.Packets) || rows[0][1] != "0x00000002" {
			t.Errorf("%s: tshark reads %d packets, the first %v", name, len(rows), rows[0])
		}
	}
	if sum != total {
		t.Errorf("%d packets in all files, want %d", sum, total)
	}
}

// A disk that is full ends the ring with one error; what was written can be read.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=40k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	r := ringIn(dir, 0, 0)
	failures := 0
	for i := range 2000 {
		for _, err := range []error{r.Write("a", made(i, "eth0")), r.Flush()} {
			if err != nil {
				if failures++; !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
			}
		}
	}
	if n, err := readAll(filepath.Join(dir, "1.pcapng")); failures != 1 || err != nil || n < 200 {
		t.Errorf("%d failures; %d packets, %v", failures, n, err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("told twice: %v", err)
	}
}

// killEnv makes the test binary a capture that goes on until it is killed.
const killEnv = "HALFOPEN_TEST_CAPTURE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		captureForEver(dir)
	}
	os.Exit(m.Run())
}

func captureForEver(dir string) {
	t := &testing.T{}
	bed := newBed(t)
	w := newWatch(t, "shipper", bed.Shipper, ringIn(dir, 0, 0))
	p := newPair(t, bed)
	go io.Copy(p.client, p.client)
	go io.Copy(p.server, p.server)
	p.client.Write([]byte(secret))
	parent := os.Getppid()
	for n := 0; os.Getppid() == parent; n++ { // who was to kill it may be killed first
		packet, err := w.sock.Read(time.Now().Add(30 * time.Second))
		if err != nil {
			os.Exit(1)
		}
		if w.ring.Write("shipper", packet) != nil || n%7 == 0 && w.ring.Flush() != nil {
			os.Exit(1)
		}
	}
	os.Exit(1)
}

// A capture that is killed leaves whole blocks, but for its last where the kernel ended
// its write at a page.
func TestKilled(t *testing.T) {
	t.Parallel()
	for try := range 20 {
		dir := t.TempDir()
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), killEnv+"="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "1.pcapng")
		grown := func() bool {
			st, err := os.Stat(file)
			return err == nil && st.Size() > int64(3000*try)
		}
		look, limit := time.NewTicker(time.Millisecond), time.After(60*time.Second)
		for late := false; !late && !grown(); {
			select {
			case <-look.C:
			case <-limit:
				late = true
				t.Error("nothing was written")
			}
		}
		look.Stop()
		cmd.Process.Kill()
		_ = cmd.Wait()
		n, err := readAll(file)
		short := errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !short || n == 0 {
			t.Fatalf("%d packets, %v", n, err)
		}
		if try%10 == 0 && !short {
			if rows := tshark(t, file, "tcp.stream"); len(rows) != n {
				t.Errorf("tshark reads %d packets of %d", len(rows), n)
			}
		}
	}
}
