package collect

import (
	"errors"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// A dump that lost replies is read again, and that is recorded. The overrun is
// real: the kernel's notices of sockets that end go to the same, smallest buffer.
func TestOverrunIsRecorded(t *testing.T) {
	ns, l := inside(t)
	rec := open(t, t.TempDir())
	before := diagSockets(t)
	s := &Sockets{At: "here", NS: ns, Ports: flow.NewPorts(5044)}
	read, via, done, err := s.reader(rec)
	if err != nil || via != Diag {
		t.Fatal(via, err)
	}
	defer done()
	for fd := range diagSockets(t) {
		if before[fd] {
			continue
		}
		if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1), // the kernel makes it its minimum
			unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.SKNLGRP_INET_TCP_DESTROY)); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		client, server := dial(t, ns, l)
		client.Close()
		server.Close()
	}
	other, _ := dial(t, ns, l)
	port := other.LocalAddr().(*net.TCPAddr).AddrPort()
	await(t, func() bool { // by look-ups first, which may fail; a dump is due after a second
		socks, err := read()
		return err == nil && slices.ContainsFunc(socks, func(s sockstate.Socket) bool { return s.Local == port })
	})
	if err := rec.Close(timeline.End{Reason: "done"}); err != nil {
		t.Fatal(err)
	}
	r, err := timeline.Load(rec.Prefix() + timeline.Suffix)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Records, func(r timeline.Record) bool {
		return r.Failure != nil && overran.MatchString(r.Failure.Error)
	}) {
		t.Errorf("no failure that tells of an overrun among %d records", len(r.Records))
	}
}

var overran = regexp.MustCompile(`[1-9][0-9]* times the netlink buffer overran`)

// diagSockets are the descriptors of this process that are inet_diag's.
func diagSockets(t *testing.T) map[int]bool {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]bool{}
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		family, ferr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		proto, perr := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if ferr == nil && perr == nil && family == unix.AF_NETLINK && proto == unix.NETLINK_SOCK_DIAG {
			found[fd] = true
		}
	}
	return found
}
