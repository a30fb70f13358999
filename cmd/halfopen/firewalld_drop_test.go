package main

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"halfopen/fault"
	"halfopen/lab"
	"halfopen/netns"
)

// guarded is a host of the bed with firewalld in force.
type guarded struct {
	*bedPair
	*firewalld
	from    *netns.NS // of which a connection to it is dropped by firewalld
	addr    netip.Addr
	before  string   // rules
	foreign []string // tables of nf_tables
}

// newGuarded lets iptables of other kinds have rules there, too.
func newGuarded(p *bedPair, backend string, ns, from *netns.NS, addr netip.Addr, others ...string) *guarded {
	p.t.Helper()
	t := p.t.(*testing.T)
	g := &guarded{bedPair: p, firewalld: startFirewalld(t, ns, backend), from: from, addr: addr}
	for _, iptables := range others {
		cmd := exec.Command(iptables, strings.Fields("-A FORWARD -p tcp --dport 5044 -j ACCEPT")...)
		err := ns.Start(cmd)
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			t.Fatalf("%s: %v", iptables, err)
		}
	}
	g.cmd("--complete-reload") // chains are listed in the order in which they were made
	if err := p.talk(p.client, p.server, 30*time.Second); err != nil || !g.filters() {
		t.Fatalf("without a fault: %v, firewalld in force: %t", err, g.filters())
	}
	g.before, g.foreign = g.rules(), p.tables(ns)
	return g
}

// filters reports whether firewalld drops a connection to the host itself: its
// kernel would answer it, with a RST.
func (g *guarded) filters() bool {
	g.bedPair.t.Helper()
	err := g.from.Do(func() error {
		c, err := net.DialTimeout("tcp", netip.AddrPortFrom(g.addr, shipPort).String(), 300*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err
	})
	var late net.Error
	dropped := errors.As(err, &late) && late.Timeout()
	if !dropped && !errors.Is(err, syscall.ECONNREFUSED) {
		g.bedPair.t.Errorf("a connection to the host of firewalld: %v", err)
	}
	return dropped
}

// cut fails the test unless the fault holds, and firewalld is in force beside it.
func (g *guarded) cut(what string, from, to net.Conn) {
	g.bedPair.t.Helper()
	came := g.talk(from, to, 300*time.Millisecond) == nil
	ours := slices.ContainsFunc(g.tables(g.ns), func(name string) bool {
		return !slices.Contains(g.foreign, name) && strings.HasPrefix(name, fault.Tables)
	})
	if filters := g.filters(); came || !ours || !filters {
		g.bedPair.t.Errorf("%s: what was sent came through: %t, rules of the fault: %t, of firewalld: %t", what, came, ours, filters)
	}
}

// undone fails the test unless the rules are as before.
func (g *guarded) undone(what string) {
	g.bedPair.t.Helper()
	if after := g.rules(); after != g.before {
		g.bedPair.t.Errorf("rules before\n%s\nand %s\n%s", g.before, what, after)
	}
}

// goesOn fails the test unless what the fault kept comes in the end.
func (g *guarded) goesOn() {
	g.bedPair.t.Helper()
	g.server.SetReadDeadline(time.Now().Add(30 * time.Second)) // the next retransmission
	if _, err := g.server.Read(make([]byte, 1)); err != nil {
		g.bedPair.t.Errorf("the connection does not go on: %v", err)
	}
}

// Beside a real firewalld, whatever it works with, a fault meets what it is about,
// outlives that the firewall is loaded anew, and leaves its rules as they were.
func TestDropBesideFirewalld(t *testing.T) {
	for backend, others := range map[string][]string{
		"nftables":        {"iptables-nft", "iptables-legacy"},
		"iptables-nft":    {"iptables-legacy"},
		"iptables-legacy": {"iptables-nft"},
	} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			p := newBedPair(t)
			g := newGuarded(p, backend, p.bed.Router, p.bed.Shipper, lab.RouterAddr, others...)

			d := startDrop(t, p.bed.Router, "--method", "c", "--for", "8s", "--hold", "1h")
			d.await("step drop")
			p.client.Write([]byte("x")) // to be met, however long the next takes
			g.cmd("--reload")
			g.cut("reloaded", p.client, p.server)
			d.await("step forget")
			g.cmd("--complete-reload")
			g.cut("reloaded wholly", p.server, p.client)
			client, server, err := p.dial(30 * time.Second)
			if err == nil {
				err = p.talk(client, server, 30*time.Second)
			}
			if err != nil {
				t.Errorf("a new connection: %v", err)
			}
			if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			d.wait(exitOK)
			w := d.window()
			if got := stepNames(w); got != "drop forget undo" {
				t.Errorf("steps %s", got)
			}
			for _, step := range []string{fault.StepDrop, fault.StepForget} {
				if _, _, ok := w.Met(step); !ok {
					t.Errorf("not one packet was dropped in step %q", step)
				}
			}
			g.undone("after the fault")

			p.client, p.server = client, server
			d = startDrop(t, p.bed.Router, "--method", "c", "--for", "1h")
			d.await("step drop")
			g.cut("once more", p.client, p.server)
			if err := d.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			d.wait(-1)
			g.undone("after kill -9")
			g.goesOn()
		})
	}
}

// So it is where the shipper's own host has the firewall.
func TestDropBesideFirewalldOfShipper(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	g := newGuarded(p, "nftables", p.bed.Shipper, p.bed.Router, lab.ShipperAddr)
	d := startDrop(t, p.bed.Shipper, "--method", "a", "--for", "1h")
	d.await("step drop")
	g.cmd("--reload")
	g.cut("reloaded", p.client, p.server)
	if err := d.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	d.wait(exitOK)
	if _, _, ok := d.window().Met(fault.StepDrop); !ok {
		t.Error("not one packet was dropped")
	}
	g.undone("after the fault")
	g.goesOn()
}
