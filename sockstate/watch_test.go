package sockstate

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"halfopen/flow"
	"halfopen/netns"
)

// follow runs a watch until stop is called, which returns its error.
func follow(t *testing.T, w *Watch) (notices <-chan Destroyed, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := make(chan Destroyed, 1000)
	done := make(chan error, 1)
	go func() {
		done <- w.Run(ctx, func(d Destroyed) {
			select {
			case out <- d:
			case <-ctx.Done():
			}
		})
	}()
	return out, func() error {
		cancel()
		return <-done
	}
}

func next(t *testing.T, notices <-chan Destroyed) Destroyed {
	t.Helper()
	select {
	case n := <-notices:
		return n
	case <-time.After(60 * time.Second):
		t.Fatal("no notice")
		return Destroyed{}
	}
}

func watch(t *testing.T, ns *netns.NS, ports ...uint16) *Watch {
	t.Helper()
	w, err := OpenWatch(ns, flow.NewPorts(ports...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func TestWatchTellsTheLastState(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			ns := private(t)
			l := listen(t, ns, netip.AddrPortFrom(k.listen, testPort))
			unwatched := listen(t, ns, netip.AddrPortFrom(k.listen, testPort+1))
			client := connect(t, ns, netip.AddrPortFrom(k.target, testPort))
			server := l.accept(t)
			d := openDiag(t, ns, testPort)
			theirs := one(t, d, Established, client.port(t))
			client.write(t, "hello")
			await(t, func() error {
				if err := d.Lookup(&theirs); err != nil || theirs.RecvQ != 5 {
					return fmt.Errorf("not received yet: %+v, %v", theirs, err)
				}
				return nil
			})

			notices, stop := follow(t, watch(t, ns, testPort))
			unwatched.close(t)
			server.close(t) // with unread data: a RST ends both
			ours := next(t, notices)
			if ours.Socket.Flow != theirs.Flow {
				ours = next(t, notices) // the order of the two ends is the kernel's affair
			}
			s := ours.Socket
			if s.Flow != theirs.Flow || s.Cookie != theirs.Cookie || s.State != Close || ours.Overrun {
				t.Errorf("notice %+v, want the end of %s with cookie %d", ours, theirs.Flow, theirs.Cookie)
			}
			if s.Info == nil || s.Info.BytesReceived != Some(uint64(5)) {
				t.Errorf("last tcp_info %+v", s.Info)
			}
			client.close(t)
			l.close(t)
			for s = next(t, notices).Socket; !s.Remote.Addr().IsUnspecified(); s = next(t, notices).Socket {
			}
			if s.Local.Port() != testPort {
				t.Errorf("notice of the end of a listener on port %d", s.Local.Port())
			}
			if err := stop(); err != nil {
				t.Errorf("after cancel: %v", err)
			}
		})
	}
}

// Notices that the kernel had to drop are reported, and the watch goes on.
func TestWatchReportsAnOverrun(t *testing.T) {
	ns := private(t)
	l := listen(t, ns, netip.AddrPortFrom(loopback, testPort))
	w := watch(t, ns, testPort, testPort+1)
	if err := w.conn.SetReadBuffer(1); err != nil { // the kernel makes it its minimum
		t.Fatal(err)
	}
	for range 50 {
		c := connect(t, ns, netip.AddrPortFrom(loopback, testPort))
		c.write(t, "x")
		l.accept(t).close(t)
		c.close(t)
	}
	notices, stop := follow(t, w)
	overruns := 0
	await(t, func() error {
		listen(t, ns, netip.AddrPortFrom(loopback, testPort+1)).close(t)
		for {
			select {
			case n := <-notices:
				if n.Overrun && n.Socket != (Socket{}) {
					t.Errorf("an overrun with a socket: %+v", n)
				}
				if n.Overrun {
					overruns++
				}
				if overruns > 0 && n.Socket.Local.Port() == testPort+1 {
					return nil
				}
			default:
				return fmt.Errorf("%d overruns reported, and no further notice", overruns)
			}
		}
	})
	if err := stop(); err != nil {
		t.Errorf("after cancel: %v", err)
	}
}

func TestWatchDestroyEndsWithItsContext(t *testing.T) {
	ns := private(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WatchDestroy(ctx, ns, flow.NewPorts(testPort), func(d Destroyed) { t.Errorf("notice %+v", d) }); err != nil {
		t.Error(err)
	}
	w := watch(t, ns, testPort)
	w.Close()
	if err := w.Run(t.Context(), func(Destroyed) {}); err == nil {
		t.Error("a closed watch ran")
	}
}
