package collect

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"halfopen/capture"
	"halfopen/flow"
	"halfopen/lab"
	"halfopen/timeline"
)

// chatter is a conversation over loopback of a namespace, a byte at a time.
func chatter(t *testing.T, bed *lab.Bed, times int) {
	t.Helper()
	err := bed.Shipper.Do(func() error {
		l, err := net.Listen("tcp", "127.0.0.1:5044")
		if err != nil {
			return err
		}
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			return err
		}
		defer server.Close()
		for range times {
			if _, err := client.Write([]byte("x")); err != nil {
				return err
			}
			if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
				return err
			}
		}
		// Each end hears of the other's, which tells that all has passed.
		if err := client.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		for _, c := range []net.Conn{server, client} {
			c.SetReadDeadline(time.Now().Add(time.Minute))
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				return fmt.Errorf("%d bytes, %v; want the end", n, err)
			}
			c.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// recordCapture captures such a conversation.
func recordCapture(t *testing.T, dir string, to *Captures, times int) (rec *Recorder, records []timeline.Record) {
	t.Helper()
	bed, err := lab.NewBed()
	if err != nil {
		t.Fatal(err)
	}
	defer bed.Close()
	ports := flow.NewPorts(5044)
	rec, err = Open(dir, timeline.Header{Experiment: "x", Ports: ports}, func(r timeline.Record) { records = append(records, r) })
	if err != nil {
		t.Fatal(err)
	}
	c := &Capture{At: "a", NS: bed.Shipper, Ports: ports, To: to}
	if err := c.Open(); err != nil {
		t.Fatal(err)
	}
	script := func(context.Context) error { chatter(t, bed, times); return nil }
	if err := rec.Run(t.Context(), script, to, c); err != nil {
		t.Fatal(err)
	}
	_ = rec.Close(timeline.End{Reason: timeline.EndDone}) // of a full disk an error
	return rec, records
}

// What came before the end is recorded, though it was not read yet; the files are a
// ring, and the recording tells of each.
func TestCapture(t *testing.T) {
	dir := t.TempDir()
	const times = 1500
	_, records := recordCapture(t, dir, &Captures{Where: "a", Size: 64 << 10, Keep: 2}, times)
	var told, removed, ended int
	var last capture.Connection
	for _, r := range records {
		switch {
		case r.Removed != nil:
			removed++
		case r.File != nil:
			told++
		case r.Packets != nil:
			last = r.Packets.Connection
		case r.Capture != nil && r.Capture.Ended:
			ended = int(r.Capture.Packets)
		case r.Gap != nil, r.Failure != nil:
			t.Errorf("%+v %+v", r.Gap, r.Failure)
		}
	}
	if last.Toward.Acked == nil || *last.Toward.Acked != times+2 || !last.Toward.Opened || ended != int(last.Toward.Packets+last.From.Packets) || ended < 2*times {
		t.Errorf("%d packets, the connection %+v", ended, last)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*-capture-a*.pcapng"))
	if err != nil || len(files) != 2 || told-removed != 2 || removed == 0 {
		t.Errorf("%v, %d told of, %d removed, %v", files, told, removed, err)
	}
}

// A disk that is full ends the files, not the recording of what packets say.
func TestCaptureFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=128k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	rec, records := recordCapture(t, dir, &Captures{Where: "a"}, 1500)
	failures := 0
	for _, r := range records {
		if r.Failure != nil && r.Failure.Source == "captured packets" {
			failures++
		}
	}
	said := slices.ContainsFunc(records, func(r timeline.Record) bool {
		return r.Packets != nil && r.Packets.Toward.Acked != nil && *r.Packets.Toward.Acked == 1502
	})
	if failures != 1 || !said || rec.Incomplete() == nil {
		t.Errorf("%d failures, told to the end %t, %v", failures, said, rec.Incomplete())
	}
	if _, err := os.Stat(rec.Path("capture-a.pcapng")); err != nil {
		t.Error(err)
	}
}
