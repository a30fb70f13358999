package fault

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"

	"halfopen/netns"
)

// loopback is what a host has, and its own connections to itself pass.
func (p *path) loopback(ns *netns.NS) {
	p.t.Helper()
	p.must(ns.Do(func() error {
		lo, err := vnl.LinkByName("lo")
		if err != nil {
			return err
		}
		return vnl.LinkSetUp(lo)
	}))
}

// redirect takes the first step of a method with a proxy.
func redirect(t *testing.T, f *Fault) {
	t.Helper()
	if _, err := f.Cut(); !errors.Is(err, ErrOrder) {
		t.Errorf("cut as first step: %v", err)
	}
	step, err := f.Redirect()
	if err != nil {
		t.Fatal(err)
	}
	checkStep(t, step, StepProxy, 2)
}

// carried awaits connections that the proxy has passed data on for, both ways.
func carried(t *testing.T, f *Fault, n int) {
	t.Helper()
	await(t, "the proxy to pass on", func() bool {
		s, ok := f.Proxied()
		return ok && s.Carried == n
	})
}

// A connection of before is not touched. A new one passes through the proxy, which
// acknowledges on while its way onward is cut; those of after the cut pass by it.
func TestSilentProxy(t *testing.T) {
	for name, at := range map[string]func(*path) *netns.NS{
		"forwarded": func(p *path) *netns.NS { return p.router },
		"sent":      func(p *path) *netns.NS { return p.client },
		"received":  func(p *path) *netns.NS { return p.server },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPath(t)
			p.loopback(at(p))
			before := p.dial()
			f := p.open(Config{NS: at(p), Method: Silent, Ports: ports})
			before.echo() // conntrack may have begun to track it just now
			redirect(t, f)
			before.echo()
			c := p.dial()
			carried(t, f, 1)
			cut(t, f)
			before.echo()
			await(t, "what was sent to be acknowledged", func() bool {
				c.client.Write(make([]byte, clientBytes))
				i := info(t, c.client)
				return i.Bytes_acked > 10*clientBytes && i.Unacked == 0
			})
			c.server.Write(make([]byte, serverBytes))
			await(t, "drops both ways", func() bool { return met(t, f, StepDrop, Toward) > 1 && met(t, f, StepDrop, From) > 1 })
			if toServer, toClient := info(t, c.server).Bytes_received, info(t, c.client).Bytes_received; toServer != 1 || toClient != 1 {
				t.Errorf("%d bytes came to the server, %d to the client", toServer-1, toClient-1)
			}
			if _, err := f.Hold(nil); err != nil {
				t.Fatal(err)
			}
			acked := info(t, c.client).Bytes_acked
			c.client.Write(make([]byte, clientBytes))
			await(t, "what was sent to be acknowledged still", func() bool { return info(t, c.client).Bytes_acked == acked+clientBytes })
			after := p.dial()
			if s, _ := f.Proxied(); s.Connections != 1 {
				t.Errorf("the proxy has %d connections", s.Connections)
			}
			await(t, "drops still", func() bool { return met(t, f, StepHold, Toward)+met(t, f, StepHold, From) > 0 })
			p.must(f.Undo())
			for _, end := range []*net.TCPConn{c.client, c.server} {
				end.SetReadDeadline(time.Now().Add(60 * time.Second))
				if _, err := io.Copy(io.Discard, end); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("after undo %v reads %v, want ECONNRESET", end.LocalAddr(), err)
				}
			}
			before.echo()
			after.echo()
			if w := f.Window("d"); w.first() != 1 || len(w.Steps) != 4 || w.Withheld == nil {
				t.Errorf("window %+v", w)
			}
		})
	}
}

// A client that would speak MPTCP passes too, by plain TCP.
func TestProxyOfMultipath(t *testing.T) {
	p := newPath(t)
	f := p.open(Config{NS: p.router, Method: Silent, Ports: ports})
	redirect(t, f)
	p.must(p.client.Do(func() error {
		d := net.Dialer{Timeout: 60 * time.Second}
		d.SetMultipathTCP(true)
		c, err := d.Dial("tcp", p.listener.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		p.listener.(*net.TCPListener).SetDeadline(time.Now().Add(60 * time.Second))
		server, err := p.listener.Accept()
		if err != nil {
			return err
		}
		defer server.Close()
		(&pair{t: t, client: c.(*net.TCPConn), server: server.(*net.TCPConn)}).echo()
		carried(t, f, 1)
		return nil
	}))
}

// Nothing passes any more, and a Lumberjack client that waits is told ACK 0, never
// in the middle of a frame. Others are told nothing.
func TestAck0(t *testing.T) {
	p := newPath(t)
	f := p.open(Config{NS: p.router, Method: Ack0, Ports: ports})
	redirect(t, f)
	send := func(to net.Conn, b string) {
		t.Helper()
		if _, err := to.Write([]byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(from *net.TCPConn, want string) {
		t.Helper()
		got := make([]byte, len(want))
		from.SetReadDeadline(time.Now().Add(60 * time.Second))
		if _, err := io.ReadFull(from, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
	open := func(says string) *pair {
		t.Helper()
		c := &pair{t: t}
		conn, err := dialOnly(p)
		p.must(err)
		t.Cleanup(func() { conn.Close() })
		far, err := p.listener.Accept()
		p.must(err)
		t.Cleanup(func() { far.Close() })
		c.client, c.server = conn.(*net.TCPConn), far.(*net.TCPConn)
		send(c.client, says)
		expect(c.server, says)
		return c
	}
	lumber, idle, tls := open("2W\x00\x00\x00\x01"), open("2W\x00\x00\x00\x01"), open("\x16\x03\x01")
	for _, c := range []*pair{lumber, idle, tls} {
		send(c.server, "2A\x00\x00\x00\x01")
		expect(c.client, "2A\x00\x00\x00\x01")
	}
	send(lumber.server, "2A\x00") // the beginning of a frame
	expect(lumber.client, "2A\x00")
	carried(t, f, 3)
	if s, _ := f.Proxied(); s.Mute != 1 {
		t.Errorf("%+v: want one that can't be spoken for", s)
	}
	cut(t, f)
	send(lumber.server, "\x00\x00\x022A\x00\x00\x00\x03")
	expect(lumber.client, "\x00\x00\x02")
	send(lumber.client, "2J more")
	send(tls.client, "more")
	fresh, err := dialOnly(p)
	p.must(err)
	defer fresh.Close()
	send(fresh, "2C new")
	for range 2 {
		expect(lumber.client, "2A\x00\x00\x00\x00")
	}
	expect(fresh.(*net.TCPConn), "2A\x00\x00\x00\x00")
	var w Window
	await(t, "the last to be counted", func() bool {
		w = f.Window("f-ack0")
		return w.Withheld != nil && w.Withheld.Acks >= 3 && w.Withheld.Toward >= 7+4+6 && w.Withheld.From >= 6
	})
	if h := w.Withheld; h.Toward != 7+4+6 || h.From != 6 {
		t.Errorf("withheld %+v", h)
	}
	for _, c := range []*pair{idle, tls} {
		if n := info(t, c.client).Bytes_received; n != 6 {
			t.Errorf("%d bytes came", n-6)
		}
	}
	var text bytes.Buffer
	if _, err := w.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	if back := parse(t, text.String()); back.Withheld == nil || *back.Withheld != *w.Withheld || w.Steps[1].Name != StepAck0 {
		t.Errorf("read back %+v", back)
	}
	p.must(f.Undo())
	if _, err := io.Copy(io.Discard, lumber.client); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after undo: %v, want ECONNRESET", err)
	}
	p.accept(fresh)
	p.dial()
}

// Who comes to the proxy's port by himself is turned away, and IPv6 passes.
func TestProxyStrangersAndIPv6(t *testing.T) {
	p := newPath(t)
	p.loopback(p.client)
	var six net.Listener
	six6 := func() (err error) {
		six, err = net.Listen("tcp", "[::1]:5044")
		return err
	}
	p.must(p.client.Do(six6))
	defer six.Close()
	f := p.open(Config{NS: p.client, Method: Silent, Ports: ports})
	redirect(t, f)
	p.must(p.client.Do(func() error {
		for _, at := range []string{"127.0.0.1", "::1"} {
			c, err := net.Dial("tcp", netip.AddrPortFrom(netip.MustParseAddr(at), f.plan.proxy).String())
			if err != nil {
				return err
			}
			defer c.Close()
			c.SetReadDeadline(time.Now().Add(60 * time.Second))
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, syscall.EAGAIN) {
				t.Errorf("a stranger at %s reads %d, %v", at, n, err)
			}
		}
		c, err := net.Dial("tcp", six.Addr().String())
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.Close() })
		far, err := six.Accept()
		if err != nil {
			return err
		}
		t.Cleanup(func() { far.Close() })
		one := &pair{t: t, client: c.(*net.TCPConn), server: far.(*net.TCPConn)}
		one.echo()
		if far.RemoteAddr().String() == c.LocalAddr().String() {
			t.Error("it does not pass through the proxy")
		}
		return nil
	}))
	carried(t, f, 1)
}
