package main

import (
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"

	"halfopen/fault"
	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/netns"
	"halfopen/verdict"
)

// checked runs halfopen check, with time even on a busy machine unless args say otherwise, and reads its answer.
func checked(t testing.TB, args ...string) (c verdict.Checkup, code int) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"check", "--json", "--timeout", "1m"}, args...)...)
	cmd.Stderr = t.Output()
	out, _ := cmd.Output()
	if err := json.Unmarshal(out, &c); err != nil {
		t.Fatalf("halfopen check: %s: %v\n%s", cmd.ProcessState, err, out)
	}
	if cmd.ProcessState.ExitCode() != checkupCode(c) {
		t.Errorf("exit code %d, of a check that says %s", cmd.ProcessState.ExitCode(), c.Health)
	}
	return c, cmd.ProcessState.ExitCode()
}

// checked looks at the shipper's side of the pair.
func (p *bedPair) checked(args ...string) (verdict.Checkup, int) {
	p.t.Helper()
	return checked(p.t, append([]string{"--netns", nsPath(p.bed.Shipper), "--port", "5044"}, args...)...)
}

// one is the only connection that a check found.
func one(t testing.TB, c verdict.Checkup) verdict.ConnCheck {
	t.Helper()
	if len(c.Shippers) != 1 || len(c.Shippers[0].Connections) != 1 {
		t.Fatalf("want one shipper with one connection: %+v", c)
	}
	return c.Shippers[0].Connections[0]
}

// chatter lets the client send a line every so often, until it is closed, and the
// server answer each.
func (p *bedPair) chatter() {
	p.client.Write([]byte("the first line\n"))
	go func() {
		for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
			if _, err := p.client.Write([]byte("a line of the log\n")); err != nil {
				tick.Stop()
				return
			}
		}
	}()
	go func() {
		line := make([]byte, 4096)
		for {
			if _, err := p.server.Read(line); err != nil {
				return
			}
			if _, err := p.server.Write([]byte("2A0001")); err != nil {
				return
			}
		}
	}()
	go io.Copy(io.Discard, p.client)
}

// cut breaks the path with a method. Forget makes the router forget the flow, and
// new connections pass.
func (p *bedPair) cut(at *netns.NS, m fault.Method, forget bool) {
	p.t.Helper()
	cfg := fault.Config{NS: at, Method: m, Ports: flow.NewPorts(shipPort)}
	if m.Forgets() {
		table, err := middlebox.OpenConntrack(at, cfg.Ports)
		if err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(func() { table.Close() })
		cfg.Conntrack = table
	}
	f, err := fault.Open(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { f.Close() })
	if _, err := f.Cut(); err != nil {
		p.t.Fatal(err)
	}
	if forget {
		if _, err := f.Hold(nil); err != nil {
			p.t.Fatal(err)
		}
	}
}

// becomes asks until the check finds what is awaited of what began at a time;
// nothing may be called stalled before the threshold.
func (p *bedPair) becomes(began time.Time, class verdict.Class, least time.Duration, args ...string) verdict.ConnCheck {
	p.t.Helper()
	for time.Since(began) < 60*time.Second {
		c, code := p.checked(append([]string{"--over", "100ms"}, args...)...)
		if code != exitStalled {
			continue
		}
		conn := one(p.t, c)
		if took := time.Since(began); took < least {
			p.t.Errorf("called stalled after %s, before the threshold of %s: %s", took, least, conn.Why)
		}
		if conn.Class != class || conn.Stood == nil || *conn.Stood < least || conn.Next == "" {
			p.t.Errorf("class %q, stood %v, next %q: %s; want %q, %s or more", conn.Class, conn.Stood, conn.Next, conn.Why, class, least)
		}
		return conn
	}
	p.t.Fatalf("never called stalled")
	return verdict.ConnCheck{}
}

// stuff writes whatever is taken, until the connection is closed.
func stuff(c net.Conn) {
	for block := make([]byte, 1<<20); ; {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}
