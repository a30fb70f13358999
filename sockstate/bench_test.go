package sockstate

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
)

// crowd makes a namespace with 500 connections on a port that is not watched,
// and one on the watched port.
func crowd(b testing.TB) *netns.NS {
	b.Helper()
	ns := private(b)
	other := listen(b, ns, netip.AddrPortFrom(loopback, testPort+1))
	for range 500 {
		connect(b, ns, netip.AddrPortFrom(loopback, testPort+1))
		other.accept(b)
	}
	l := listen(b, ns, netip.AddrPortFrom(loopback, testPort))
	connect(b, ns, netip.AddrPortFrom(loopback, testPort))
	l.accept(b)
	return ns
}

func BenchmarkLookup(b *testing.B) {
	d := openDiag(b, crowd(b), testPort)
	s := one(b, d, Established, testPort)
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Lookup(&s); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookupBare is the floor for BenchmarkLookup: its two system calls.
func BenchmarkLookupBare(b *testing.B) {
	d := openDiag(b, crowd(b), testPort)
	s := one(b, d, Established, testPort)
	d.putLookup(&s)
	var fd int
	if err := d.raw.Control(func(p uintptr) { fd = int(p) }); err != nil {
		b.Fatal(err)
	}
	reply := make([]byte, 8<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := unix.Write(fd, d.request[:]); err != nil {
			b.Fatal(err)
		}
		if _, err := unix.Read(fd, reply); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDumpFiltered(b *testing.B) {
	d := openDiag(b, crowd(b), testPort)
	b.ReportAllocs()
	for b.Loop() {
		if socks, err := d.Dump(); err != nil || len(socks) != 3 {
			b.Fatal(len(socks), err)
		}
	}
}

func BenchmarkDumpAll(b *testing.B) {
	d := openDiag(b, crowd(b), testPort, testPort+1)
	b.ReportAllocs()
	for b.Loop() {
		if socks, err := d.Dump(); err != nil || len(socks) != 1004 {
			b.Fatal(len(socks), err)
		}
	}
}

func BenchmarkReadProc(b *testing.B) {
	ns := crowd(b)
	b.ReportAllocs()
	for b.Loop() {
		if socks, _, err := ReadProc(ns.ProcRoot(), flow.NewPorts(testPort)); err != nil || len(socks) != 3 {
			b.Fatal(len(socks), err)
		}
	}
}

// snapshot copies the table of a crowd to a regular file, so that the kernel's
// part in reading it is not measured.
func snapshot(b testing.TB) (root string, text []byte) {
	b.Helper()
	text, err := os.ReadFile(filepath.Join(crowd(b).ProcRoot(), "net", "tcp"))
	if err != nil {
		b.Fatal(err)
	}
	root = b.TempDir()
	table(b, root, "tcp", string(text))
	return root, text
}

func readOurs(root string, dst []Socket) ([]Socket, error) {
	f, err := os.Open(filepath.Join(root, "net", "tcp"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	socks, bad, err := ParseProc(f, nil, dst)
	if len(bad) > 0 {
		err = fmt.Errorf("bad line %s", bad[0])
	}
	return socks, err
}

func BenchmarkParseProc(b *testing.B) {
	root, text := snapshot(b)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var socks []Socket
	for b.Loop() {
		var err error
		if socks, err = readOurs(root, socks[:0]); err != nil || len(socks) != 1004 {
			b.Fatal(len(socks), err)
		}
	}
}

func BenchmarkParseProcfs(b *testing.B) {
	root, text := snapshot(b)
	fs, err := procfs.NewFS(root)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		//lint:ignore SA1019 it is what the parser is compared with
		if socks, err := fs.NetTCP(); err != nil || len(socks) != 1004 {
			b.Fatal(len(socks), err)
		}
	}
}

// ParseProc is worth its code only while it allocates a small part of what
// procfs does.
func TestParseProcAllocatesLittle(t *testing.T) {
	root, text := snapshot(t)
	fs, err := procfs.NewFS(root)
	if err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 it is what the parser is compared with
	theirs := testing.AllocsPerRun(5, func() { fs.NetTCP() })
	ours := testing.AllocsPerRun(5, func() { ParseProc(bytes.NewReader(text), nil, nil) })
	if ours*20 > theirs {
		t.Errorf("%v allocations, procfs %v", ours, theirs)
	}
}
