package sockstate

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func TestDumpAgain(t *testing.T) {
	var s Stats
	for _, c := range []struct {
		err   error
		again bool
	}{{errInterrupted, true}, {fmt.Errorf("receive: %w", unix.ENOBUFS), true}, {unix.EPERM, false}, {errors.New("other"), false}} {
		if again := s.count(c.err); again != c.again {
			t.Errorf("%v: read again: %v", c.err, again)
		}
	}
	if want := (Stats{Interrupted: 1, Overruns: 1}); s != want {
		t.Errorf("counted %+v, want %+v", s, want)
	}
}

// Replies that were lost are asked for again. The kernel's notices of sockets that
// end, which come and go here, take up the dump's own smallest buffer.
func TestDumpAfterAnOverrun(t *testing.T) {
	ns := private(t)
	l := listen(t, ns, netip.AddrPortFrom(loopback, testPort))
	d := openDiag(t, ns, testPort)
	if err := errors.Join(d.conn.SetReadBuffer(1), d.conn.JoinGroup(unix.SKNLGRP_INET_TCP_DESTROY)); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		c := connect(t, ns, netip.AddrPortFrom(loopback, testPort))
		c.write(t, "x")
		l.accept(t).close(t)
		c.close(t)
	}
	connect(t, ns, netip.AddrPortFrom(loopback, testPort))
	await(t, func() error { // the notices come from a work queue
		table, err := os.ReadFile(filepath.Join(ns.ProcRoot(), "net", "netlink"))
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); len(f) == 10 && f[0] != "sk" && f[8] != "0" { // column Drops
				return nil
			}
		}
		return fmt.Errorf("nothing was lost: %v\n%s", err, table)
	})
	await(t, func() error { // those that were reset may be there still
		if socks := dump(t, d); len(socks) != 3 {
			return fmt.Errorf("%d sockets: %+v", len(socks), socks)
		}
		return nil
	})
	// More than one where the work queue goes on while it is asked again.
	if s := d.Stats(); s.Overruns < 1 || s != (Stats{Overruns: s.Overruns}) {
		t.Errorf("counted %+v, want overruns alone", s)
	}
}

func TestDumpKeepsItsDeadline(t *testing.T) {
	ns := private(t)
	listen(t, ns, netip.AddrPortFrom(loopback, testPort))
	d := openDiag(t, ns, testPort)
	if _, err := d.dumpOnce(time.Unix(1, 0)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a dump with no time left: %v", err)
	}
	if socks := dump(t, d); len(socks) != 1 {
		t.Errorf("%d sockets", len(socks))
	}
}

// A dump of which one message says that the table changed meanwhile counts for
// nothing. The messages are the kernel's; the flag, which it does not set for
// sockets, is ours.
func TestDumpInterrupted(t *testing.T) {
	ns := private(t)
	listen(t, ns, netip.AddrPortFrom(loopback, testPort))
	connect(t, ns, netip.AddrPortFrom(loopback, testPort))
	d := openDiag(t, ns, testPort)
	msgs, err := d.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: getTCP, Flags: netlink.Request | netlink.Dump}, Data: dumpRequest(d.filter),
	})
	if err != nil || len(msgs) != 3 {
		t.Fatal(len(msgs), err)
	}
	if socks, err := decodeDump(msgs); err != nil || len(socks) != 3 {
		t.Errorf("%d sockets, error %v", len(socks), err)
	}
	for i := range msgs {
		marked := slices.Clone(msgs)
		marked[i].Header.Flags |= netlink.DumpInterrupted
		if socks, err := decodeDump(marked); !errors.Is(err, errInterrupted) || socks != nil {
			t.Errorf("message %d marked: %d sockets, error %v", i, len(socks), err)
		}
	}
}

// A connection that a failed dump has left unusable is replaced.
func TestDumpAfterAFailure(t *testing.T) {
	ns := private(t)
	listen(t, ns, netip.AddrPortFrom(loopback, testPort))
	d := openDiag(t, ns, testPort)
	d.conn.Close()
	if _, err := d.Dump(); err == nil {
		t.Fatal("a dump on a closed connection succeeded")
	}
	if socks := dump(t, d); len(socks) != 1 {
		t.Errorf("%d sockets", len(socks))
	}
	if err := d.Lookup(&dump(t, d)[0]); err != nil {
		t.Error(err)
	}
}
