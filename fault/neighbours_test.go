package fault

import (
	"regexp"
	"testing"
)

// foreignRules are of the router, by iptables in both its kinds and by nft. Some
// would let a packet pass, some answer it.
func foreignRules(p *path) {
	p.t.Helper()
	for _, kind := range []string{"iptables-legacy", "iptables-nft"} {
		iptables := need(p.t, kind, "iptables")
		for _, rule := range [][]string{
			{"-A", "FORWARD", "-p", "tcp", "--dport", "5044", "-m", "conntrack", "--ctstate", "NEW,ESTABLISHED", "-j", "ACCEPT"},
			{"-A", "FORWARD", "-p", "tcp", "-m", "conntrack", "--ctstate", "INVALID", "-j", "REJECT", "--reject-with", "tcp-reset"},
			{"-t", "raw", "-A", "PREROUTING", "-p", "tcp", "--sport", "5044", "-j", "ACCEPT"},
		} {
			in(p.t, p.router, "", append([]string{iptables, "-w"}, rule...)...)
		}
	}
	in(p.t, p.router, `add table inet firewall
add chain inet firewall forward { type filter hook forward priority filter + 10; }
add rule inet firewall forward ct state invalid reject with tcp reset
`, need(p.t, "nft", "nftables"), "-f", "-")
}

var figures = regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]| counter packets \d+ bytes \d+`)

// Beside the rules of others a fault meets its packets first: none that it is
// about is let through or answered. Nothing of theirs is changed by it.
func TestBesideOthers(t *testing.T) {
	nft, save := need(t, "nft", "nftables"), need(t, "iptables-legacy-save", "iptables")
	p := newPath(t)
	foreignRules(p)
	all := func() string {
		return figures.ReplaceAllString(in(t, p.router, "", nft, "list", "ruleset")+in(t, p.router, "", save), "")
	}
	before := all()

	c, f := p.dial(), p.fault()
	resets := p.resets(p.router)
	toward, from := account(t, c)
	cut(t, f)
	c.write()
	await(t, "what was sent to be dropped", func() bool {
		got := counted(t, f)
		return got[0].Packets > 1 && toward(got[0], got[2]) && from(got[1], got[3])
	})
	if _, err := f.Hold(nil); err != nil {
		t.Fatal(err)
	}
	p.dial()
	await(t, "what was forgotten to be dropped", func() bool { return met(t, f, StepForget, Toward) > 0 && met(t, f, StepForget, From) > 0 })
	if got := p.resets(p.router); got != resets {
		t.Errorf("%d RSTs were sent", got-resets)
	}
	p.must(f.Undo())
	if after := all(); after != before {
		t.Errorf("rules before\n%s\nand after\n%s", before, after)
	}
}

// A firewall that is loaded anew meanwhile takes away all rules but the fault's.
func TestOthersFlush(t *testing.T) {
	nft, iptables := need(t, "nft", "nftables"), need(t, "iptables-legacy", "iptables")
	p := newPath(t)
	foreignRules(p)
	c, f := p.dial(), p.fault()
	cut(t, f)
	c.write()
	await(t, "a packet", func() bool { return met(t, f, StepDrop, Toward) > 0 })
	in(t, p.router, "", iptables, "-w", "-F", "FORWARD")
	in(t, p.router, "", nft, "flush", "ruleset")
	if got := p.tables(); len(got) != 1 || got[0] != f.plan.table {
		t.Errorf("tables %v, want the fault's alone", got)
	}
	dropped := met(t, f, StepDrop, Toward)
	await(t, "one more", func() bool { return met(t, f, StepDrop, Toward) > dropped })
	p.must(f.Undo())
}
