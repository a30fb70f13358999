package middlebox

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"

	"halfopen/netns"
)

// wired joins two namespaces by 10.53.0.1 and 10.53.0.2.
func wired(t *testing.T) (near, far *netns.NS) {
	t.Helper()
	near, far = newEmpty(t), newEmpty(t)
	err := near.Do(func() error {
		return vnl.LinkAdd(&vnl.Veth{LinkAttrs: vnl.LinkAttrs{Name: "wire", TxQLen: 100}, PeerName: "wire", PeerNamespace: vnl.NsFd(far.FD())})
	})
	if err != nil {
		t.Fatal(err)
	}
	inside(t, near, "ip addr add 10.53.0.1/24 dev wire")
	inside(t, far, "ip addr add 10.53.0.2/24 dev wire")
	inside(t, near, "ip link set wire up")
	inside(t, far, "ip link set wire up")
	return near, far
}

// A link is told with what leaves by it, its going down at once though the route is
// gone with it, and what its queue drops.
func TestWatchLinks(t *testing.T) {
	near, far := wired(t)
	to := netip.MustParseAddr("10.53.0.2")
	ctx, cancel := context.WithCancel(t.Context())
	told, done := make(chan Link, 1000), make(chan error, 1)
	go func() {
		done <- WatchLinks(ctx, near, 50*time.Millisecond, func() []netip.Addr { return []netip.Addr{to} }, func(l Link) { told <- l })
	}()
	await := func(what string, is func(Link) bool) (l Link) {
		t.Helper()
		for limit := time.After(60 * time.Second); ; {
			select {
			case l = <-told:
				if is(l) {
					return l
				}
			case err := <-done:
				t.Fatalf("the watch ended: %v", err)
			case <-limit:
				t.Fatalf("waited in vain for %s; last %+v", what, l)
			}
		}
	}
	l := await("the link", func(l Link) bool { return l.State == "up" })
	if l.Name != "wire" || l.Kind != "veth" || l.MTU != 1500 || len(l.Toward) != 1 || l.Toward[0] != to || l.RxErrors == nil || l.TxDropped == nil || len(l.Queues) == 0 {
		t.Errorf("%+v, want the wire with its counters", l)
	}
	inside(t, far, "ip link set wire down")
	await("the end of the carrier", func(l Link) bool { return !l.Up() && slices.Contains(l.Toward, to) })
	inside(t, far, "ip link set wire up")
	await("the carrier", Link.Up)

	inside(t, near, "tc qdisc replace dev wire root bfifo limit 100")
	before := await("the queue", func(l Link) bool { return len(l.Queues) == 1 && l.Queues[0].Kind == "bfifo" })
	err := near.Do(func() error {
		c, err := net.Dial("udp", "10.53.0.2:9")
		if err != nil {
			return err
		}
		defer c.Close()
		_, _ = c.Write(make([]byte, 1000))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if l = await("a drop", func(l Link) bool { return len(l.Queues) == 1 && l.Queues[0].Drops > 0 }); l.Lost() <= before.Lost() {
		t.Errorf("lost %d, before %d", l.Lost(), before.Lost())
	}

	// Its route has gone with it; which link it was is known.
	inside(t, near, "ip link set wire down")
	await("the link switched off", func(l Link) bool { return l.State == "down" })
	inside(t, near, "ip link del wire")
	await("its end", func(l Link) bool { return l.State == "gone" && l.Name == "wire" })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
