package sockstate

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"halfopen/netns"
)

const testPort = 5044

// private makes a network namespace with its loopback up.
func private(t testing.TB) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	inside(t, ns, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return ns
}

func inside(t testing.TB, ns *netns.NS, fn func() error) {
	t.Helper()
	if err := ns.Do(fn); err != nil {
		t.Fatal(err)
	}
}

// await polls until fn has no complaint: the kernel gives no notice of what its
// tables show next.
func await(t testing.TB, fn func() error) {
	t.Helper()
	tick, late := time.NewTicker(5*time.Millisecond), time.After(60*time.Second)
	defer tick.Stop()
	for {
		err := fn()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatal(err)
		}
	}
}

// end is a TCP socket made by system calls: unlike a net.Conn it does nothing by
// itself, and its family is chosen apart from its addresses.
type end int

func sockaddr(a netip.AddrPort) (domain int, sa unix.Sockaddr) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func open(t testing.TB, ns *netns.NS, domain int, flags int) end {
	t.Helper()
	var e end
	inside(t, ns, func() error {
		fd, err := unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
		e = end(fd)
		return err
	})
	t.Cleanup(func() { unix.Close(int(e)) })
	return e
}

func listen(t testing.TB, ns *netns.NS, at netip.AddrPort, options ...func(end) error) end {
	t.Helper()
	domain, sa := sockaddr(at)
	e := open(t, ns, domain, 0)
	for _, set := range append(options, func(e end) error { return unix.SetsockoptInt(int(e), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) }) {
		if err := set(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Bind(int(e), sa); err != nil {
		t.Fatalf("bind %s: %v", at, err)
	}
	if err := unix.Listen(int(e), 4096); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e end) port(t testing.TB) uint16 {
	t.Helper()
	sa, err := unix.Getsockname(int(e))
	if err != nil {
		t.Fatal(err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port)
	case *unix.SockaddrInet6:
		return uint16(sa.Port)
	}
	t.Fatal("not an Internet socket")
	return 0
}

// connect waits for the connection; start does not.
func connect(t testing.TB, ns *netns.NS, to netip.AddrPort) end { return dialTo(t, ns, to, 0) }
func start(t testing.TB, ns *netns.NS, to netip.AddrPort) end {
	return dialTo(t, ns, to, unix.SOCK_NONBLOCK)
}

func dialTo(t testing.TB, ns *netns.NS, to netip.AddrPort, flags int) end {
	t.Helper()
	domain, sa := sockaddr(to)
	e := open(t, ns, domain, flags)
	if err := unix.Connect(int(e), sa); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		t.Fatalf("connect to %s: %v", to, err)
	}
	return e
}

func (e end) accept(t testing.TB) end {
	t.Helper()
	fd, _, err := unix.Accept4(int(e), unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return end(fd)
}

func (e end) write(t testing.TB, data string) {
	t.Helper()
	if _, err := unix.Write(int(e), []byte(data)); err != nil {
		t.Fatal(err)
	}
}

// fill writes until neither this end's send buffer nor the peer's window takes
// more, and nothing is in flight that could make room.
func (e end) fill(t testing.TB) {
	t.Helper()
	if err := unix.SetNonblock(int(e), true); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	await(t, func() error {
		n, err := unix.Write(int(e), buf)
		for n > 0 {
			n, err = unix.Write(int(e), buf)
		}
		if !errors.Is(err, unix.EAGAIN) {
			t.Fatal(err)
		}
		info, err := unix.GetsockoptTCPInfo(int(e), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		if info.Unacked > 0 || info.Notsent_bytes == 0 {
			return fmt.Errorf("send buffer not full yet: %d segments in flight, %d bytes not sent", info.Unacked, info.Notsent_bytes)
		}
		return nil
	})
}

// reaches waits for a state: what the other end sends is received in a softirq.
func (e end) reaches(t testing.TB, want State) {
	t.Helper()
	await(t, func() error {
		info, err := unix.GetsockoptTCPInfo(int(e), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		if s := State(info.State); s != want {
			return fmt.Errorf("in %s, want %s", s, want)
		}
		return nil
	})
}

func (e end) shutdown(t testing.TB) {
	t.Helper()
	if err := unix.Shutdown(int(e), unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
}

// close lets go of the descriptor; the cleanup of open then closes nothing.
func (e end) close(t testing.TB) {
	t.Helper()
	// The number is kept in use by a duplicate of another file, so that the
	// cleanup can't hit a stranger's descriptor.
	null, err := unix.Open("/dev/null", unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	if err := unix.Dup3(null, int(e), unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
}
