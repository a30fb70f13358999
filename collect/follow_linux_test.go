package collect

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
)

// inside makes a namespace with a listener on port 5044.
func inside(t *testing.T) (*netns.NS, net.Listener) {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace (needs root): %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	var l net.Listener
	err = ns.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			return err
		}
		l, err = net.Listen("tcp4", "127.0.0.1:5044")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return ns, l
}

func dial(t *testing.T, ns *netns.NS, l net.Listener) (client, server net.Conn) {
	t.Helper()
	err := ns.Do(func() (err error) {
		client, err = net.Dial("tcp4", "127.0.0.1:5044")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// Between two dumps known connections are read by look-up; one that ends brings
// the next dump forward; readings that were handed out do not change.
func TestFollower(t *testing.T) {
	ns, l := inside(t)
	client, _ := dial(t, ns, l)
	diag, err := sockstate.OpenDiag(ns, flow.NewPorts(5044))
	if err != nil {
		t.Fatal(err)
	}
	defer diag.Close()
	f := &follower{diag: diag, own: (&Sockets{}).own}
	first, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 3 { // listener and both ends
		t.Fatalf("found %+v", first)
	}
	kept := slices.Clone(first)
	mine := flow.New(client.LocalAddr().(*net.TCPAddr).AddrPort(), client.RemoteAddr().(*net.TCPAddr).AddrPort())
	if _, err := client.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	f.nextDump = never // look-ups only
	sent := func(socks []sockstate.Socket) uint64 {
		i := slices.IndexFunc(socks, func(s sockstate.Socket) bool { return s.Flow == mine })
		if i < 0 {
			t.Fatalf("no %s among %+v", mine, socks)
		}
		n, _ := socks[i].Info.BytesSent.Get()
		return n
	}
	second, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	if sent(second) != sent(first)+1000 || !slices.EqualFunc(first, kept, func(a, b sockstate.Socket) bool { return a.Steady(b) }) {
		t.Errorf("sent %d, then %d bytes", sent(first), sent(second))
	}
	if err := client.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close() // RST: both ends are gone at once
	other, _ := dial(t, ns, l)
	f.earliest = 0
	third, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range third {
		if s.Flow == mine {
			t.Errorf("%s is still there", mine)
		}
	}
	mine = flow.New(other.LocalAddr().(*net.TCPAddr).AddrPort(), other.RemoteAddr().(*net.TCPAddr).AddrPort())
	sent(third)
}

const never = time.Duration(1e18) // monotonic
