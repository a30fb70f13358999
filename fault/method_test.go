package fault

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
)

var ports = flow.NewPorts(port)

func cut(t *testing.T, f *Fault) {
	t.Helper()
	if _, err := f.Cut(); err != nil {
		t.Fatal(err)
	}
}

// met sums what the rules of a step have met one way.
func met(t *testing.T, f *Fault, step string, d Direction) (packets uint64) {
	t.Helper()
	for _, c := range counted(t, f) {
		if c.Step == step && c.Direction == d {
			packets += c.Packets
		}
	}
	return packets
}

// What a host drops of its own, its kernel takes for congestion: nothing was
// ever sent, so nothing is sent again. What is lost on an interface it does not
// hear of.
func TestWhoIsTold(t *testing.T) {
	for name, cfg := range map[string]Config{
		"output":    {Method: Local},
		"interface": {Method: Link, Interface: "eth0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPath(t)
			c := p.dial()
			cfg.NS, cfg.Ports = p.client, ports
			f := p.open(cfg)
			cut(t, f)
			c.client.Write(make([]byte, clientBytes))
			await(t, "three tries", func() bool { return met(t, f, StepDrop, Toward) >= 3 })
			i := info(t, c.client)
			if told := i.Total_retrans == 0 && i.Notsent_bytes == clientBytes; told != (name == "output") {
				t.Errorf("retransmissions %d, %d bytes never sent", i.Total_retrans, i.Notsent_bytes)
			}
			if got := info(t, c.server).Bytes_received; got != 1 {
				t.Errorf("%d bytes came through", got-1)
			}
			if err := f.Undo(); err != nil {
				t.Fatal(err)
			}
			c.server.SetReadDeadline(time.Now().Add(60 * time.Second))
			if n, err := c.server.Read(make([]byte, 1000)); n != clientBytes {
				t.Errorf("after undo: %d bytes, %v", n, err)
			}
		})
	}
}

// One way is cut and the other is not.
func TestWays(t *testing.T) {
	for _, cfg := range []Config{
		{Method: Link, Interface: "eth0", Ways: Out},
		{Method: Link, Interface: "eth0", Ways: In},
		{Method: Local, Hook: HookLocal, Ways: In},
		{Method: Local, Hook: HookLocal, Ways: Out, Interface: "eth0"},
	} {
		t.Run(string(cfg.Hook+HookInterface)+" "+string(cfg.Ways), func(t *testing.T) {
			p := newPath(t)
			c := p.dial()
			cfg.NS, cfg.Ports = p.client, ports
			f := p.open(cfg)
			cut(t, f)
			c.write()
			toward, from := Toward, From
			if cfg.Ways == In {
				toward, from = from, toward
			}
			passes, stays, all := c.client, c.server, uint64(serverBytes)
			if cfg.Ways == In {
				passes, stays, all = c.server, c.client, clientBytes
			}
			await(t, "packets dropped the one way, data the other way", func() bool {
				return met(t, f, StepDrop, toward) >= 2 && info(t, passes).Bytes_received == 1+all
			})
			if n := met(t, f, StepDrop, from); n != 0 {
				t.Errorf("%d packets dropped the other way", n)
			}
			if n := info(t, stays).Bytes_received - 1; n != 0 {
				t.Errorf("%d bytes came the way that is cut", n)
			}
		})
	}
}

// An interface that is another's, and everything on it.
func TestInterface(t *testing.T) {
	p := newPath(t)
	c := p.dial()
	other := p.open(Config{NS: p.router, Method: Local, Hook: HookLocal, Ways: Both, Everything: true, Interface: "in"})
	cut(t, other)
	c.echo() // forwarded, and not the router's own
	all := p.open(Config{NS: p.router, Method: Link, Everything: true, Interface: "out"})
	cut(t, all)
	c.write()
	await(t, "packets both ways", func() bool { return met(t, all, StepDrop, Toward) > 0 && met(t, all, StepDrop, From) > 0 })
	if n := met(t, other, StepDrop, Toward) + met(t, other, StepDrop, From); n != 0 {
		t.Errorf("%d packets on the other interface", n)
	}
}

// Only one connection is met; then only those of before.
func TestOneConnection(t *testing.T) {
	for _, at := range []string{"forwarded", "interface", "forgotten"} {
		t.Run(at, func(t *testing.T) {
			p := newPath(t)
			one, other := p.dial(), p.dial()
			of := one.flow()
			cfg := Config{NS: p.router, Method: Local, Hook: HookForward, Ways: Both, Flow: &of}
			switch at {
			case "interface":
				cfg = Config{NS: p.client, Method: Link, Interface: "eth0", Flow: &of}
			case "forgotten":
				cfg = Config{NS: p.router, Method: Transient, Flow: &of, Conntrack: p.conntrack}
			}
			f := p.open(cfg)
			cut(t, f)
			one.write()
			await(t, "its packets", func() bool { return met(t, f, StepDrop, Toward) > 0 && met(t, f, StepDrop, From) > 0 })
			other.echo()
			resets := p.resets(p.router)
			step, err := f.Hold([]flow.Flow{of})
			if err != nil {
				t.Fatal(err)
			}
			if at == "forgotten" && (len(step.Deleted) != 1 || step.Deleted[0].Orig != of) {
				t.Errorf("deleted %v, want %v alone", tuples(step.Deleted), of)
			}
			await(t, "its packets again", func() bool { return met(t, f, step.Name, Toward) > 0 && met(t, f, step.Name, From) > 0 })
			other.echo()
			p.dial()
			if got := info(t, one.server).Bytes_received; got != 1 {
				t.Errorf("%d bytes came through", got-1)
			}
			if got := p.resets(p.router); got != resets {
				t.Errorf("the router sent %d RSTs", got-resets)
			}
		})
	}
}

// The connections of before are held while new ones pass, also by IPv6's rules:
// those are taken by the kernel, if there is nothing for them to meet here.
func TestHoldAndPass(t *testing.T) {
	p := newPath(t)
	c := p.dial()
	f := p.open(Config{NS: p.client, Method: Link, Interface: "eth0", Ports: ports})
	cut(t, f)
	c.write()
	await(t, "a packet", func() bool { return met(t, f, StepDrop, Toward) > 0 })
	six := flow.Flow{Local: netip.MustParseAddrPort("[2001:db8::1]:40000"), Remote: netip.MustParseAddrPort("[2001:db8::2]:5044")}
	if _, err := f.Hold([]flow.Flow{c.flow(), six}); err != nil {
		t.Fatal(err)
	}
	p.dial()
	await(t, "a packet of the old connection", func() bool { return met(t, f, StepHold, Toward) > 0 })
	if _, err := f.Pass(); !errors.Is(err, ErrOrder) {
		t.Errorf("pass as third step: %v", err)
	}
	p.must(f.Undo())

	again := p.open(Config{NS: p.client, Method: Local, Ports: ports})
	cut(t, again)
	fresh, err := p.tryDial(time.Second)
	if err == nil {
		t.Errorf("%v passed", fresh.flow())
	}
	dropped := met(t, again, StepDrop, Toward)
	if _, err := again.Pass(); err != nil {
		t.Fatal(err)
	}
	p.dial()
	if got := met(t, again, StepDrop, Toward); got < dropped || dropped == 0 {
		t.Errorf("%d packets dropped, %d after the rules were gone", dropped, got)
	}
}

// A share of the packets is lost. With 400 packets the share is 20 % give or
// take 2: ten and thirty are five times as far away.
func TestLoss(t *testing.T) {
	p := newPath(t)
	f := p.open(Config{NS: p.router, Method: Local, Hook: HookForward, Ways: Out, Ports: ports, Loss: 0.2})
	c := p.dial()
	cut(t, f)
	before := info(t, c.client).Segs_out
	var sent, lost uint64
	await(t, "400 packets", func() bool {
		c.client.Write([]byte("x"))
		lost, sent = met(t, f, StepDrop, Toward), uint64(info(t, c.client).Segs_out-before)
		return sent >= 400
	})
	if lost*10 < sent || lost*10 > 3*sent {
		t.Errorf("%d of %d packets were lost, want a fifth", lost, sent)
	}
}

// The receiver is gone, and nobody has heard of it.
func TestLostFIN(t *testing.T) {
	p := newPath(t)
	c := p.dial()
	f := p.open(Config{NS: p.router, Method: LostFIN, Ports: ports})
	cut(t, f)
	if err := c.server.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "the FIN and one more", func() bool { return met(t, f, StepFIN, From) >= 2 })
	if i := info(t, c.client); i.State != established {
		t.Errorf("state %d, want ESTABLISHED", i.State)
	}
	p.dial()
	if err := f.Undo(); err != nil {
		t.Fatal(err)
	}
	c.client.SetReadDeadline(time.Now().Add(60 * time.Second))
	if n, err := c.client.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, unix.ETIMEDOUT) {
		t.Errorf("after undo: %d, %v", n, err)
	}
}

// Handshakes pass, data is answered by a third party.
func TestReset(t *testing.T) {
	p := newPath(t)
	c := p.dial()
	f := p.open(Config{NS: p.router, Method: Reset, Ports: ports})
	cut(t, f)
	resets := p.resets(p.server)
	fresh, err := dialOnly(p)
	if err != nil {
		t.Fatalf("the handshake does not pass: %v", err)
	}
	defer fresh.Close()
	for _, conn := range []net.Conn{c.client, c.server, fresh} {
		conn.Write([]byte("x"))
		conn.SetReadDeadline(time.Now().Add(60 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v reads %v, want ECONNRESET", conn.LocalAddr(), err)
		}
	}
	if got := p.resets(p.server); got != resets {
		t.Errorf("the server sent %d RSTs itself", got-resets)
	}
	if _, err := f.Pass(); err != nil {
		t.Fatal(err)
	}
	p.accept(fresh) // of the handshake above
	p.dial()
}

func dialOnly(p *path) (conn net.Conn, err error) {
	err = p.client.Do(func() error {
		conn, err = net.DialTimeout("tcp", p.listener.Addr().String(), 30*time.Second)
		return err
	})
	return conn, err
}

// accept takes the other end of a connection from the listener's queue.
func (p *path) accept(conn net.Conn) {
	p.t.Helper()
	c, err := p.listener.Accept()
	p.must(err)
	c.Close()
	conn.Close()
}

// A connection over which nothing flows is forgotten, one in use is not.
func TestIdle(t *testing.T) {
	p := newPath(t)
	idle, busy := p.dial(), p.dial()
	was := sysctl(t, p.router)
	f := p.open(Config{NS: p.router, Method: Idle, Ports: ports, Conntrack: p.conntrack, Idle: 10 * time.Second})
	step, err := f.Cut()
	if err != nil {
		t.Fatal(err)
	}
	if got := sysctl(t, p.router); got != "10" || step.Changed != "sysctl -w "+idleKey+"=10 (it was "+was+")" {
		t.Errorf("the timeout is %s, the step says %q", got, step.Changed)
	}
	idle.echo() // its entry takes the timeout now
	await(t, "its entry to expire", func() bool {
		busy.echo()
		entries, err := p.conntrack.List()
		p.must(err)
		return len(entries) == 1 && entries[0].Orig == busy.flow()
	})
	idle.write()
	await(t, "its packets to be dropped", func() bool {
		busy.echo()
		return met(t, f, StepExpire, Toward) > 0 && met(t, f, StepExpire, From) > 0
	})
	p.dial()
	step, err = f.Hold(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := sysctl(t, p.router); got != was {
		t.Errorf("the timeout is %s after the second step, it was %s", got, was)
	}
	if len(step.Deleted) != 1 || step.Deleted[0].Orig != idle.flow() {
		t.Errorf("deleted %v, want %v", tuples(step.Deleted), idle.flow())
	}
	await(t, "its packets to be dropped still", func() bool { return met(t, f, StepForget, Toward) > 0 })
	if got := info(t, idle.server); got.Bytes_received != 2 || got.State != established {
		t.Errorf("%d bytes came through, state %d", got.Bytes_received-2, got.State)
	}
}

func sysctl(t *testing.T, ns *netns.NS) string {
	t.Helper()
	v, err := ns.Sysctl(idleKey)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A sysctl that somebody else has set meanwhile stays so.
func TestIdleTouchedByOthers(t *testing.T) {
	p := newPath(t)
	f, err := Open(Config{NS: p.router, Method: Idle, Ports: ports, Conntrack: p.conntrack, Idle: 7 * time.Second})
	p.must(err)
	cut(t, f)
	p.must(p.router.SetSysctl(idleKey, "77"))
	if err := f.Undo(); err == nil {
		t.Error("undo says nothing")
	}
	if got := sysctl(t, p.router); got != "77" {
		t.Errorf("the timeout is %s", got)
	}
	if got := p.tables(); !slices.Equal(got, []string{"nat"}) {
		t.Errorf("tables %v", got)
	}
}
