package middlebox

import (
	"slices"
	"testing"

	"halfopen/flow"
)

// A rule tells which packets get to it, and from when to when.
func TestRuleReach(t *testing.T) {
	const chains = "nft table inet x { chain incoming { type filter hook input priority 0 ; } ; chain through { type filter hook forward priority 0 ; } ; chain one { } ; chain two { } ; }"
	for _, tt := range []struct {
		name, before, add string
		hooks             []string
		side, absent      string
		loose             bool
	}{
		{name: "input", add: "nft add rule inet x incoming tcp dport 5044 drop", hooks: []string{"input"}, side: "dport"},
		{name: "forward", add: "nft add rule inet x through tcp sport 5044 drop", hooks: []string{"forward"}, side: "sport"},
		{name: "no hook", add: "nft add rule inet x one tcp dport 5044 drop", side: "dport", loose: true},
		{name: "jumps", before: "nft add rule inet x incoming jump two ; add rule inet x through goto two ; add rule inet x two jump one", add: "nft add rule inet x one drop", hooks: []string{"forward", "input"}},
		{name: "a verdict map", before: "nft add rule inet x incoming ct state vmap { new : jump two }", add: "nft add rule inet x one drop"},
		{name: "no such interface", add: `nft add rule inet x incoming iifname nope tcp dport { 5044, 9600 } drop`, hooks: []string{"input"}, absent: "nope"},
		{name: "an interface", add: `nft add rule inet x incoming iifname lo drop`, hooks: []string{"input"}},
		{name: "interfaces by their beginning", add: `nft add rule inet x incoming iifname "nope*" drop`, hooks: []string{"input"}},
		{name: "iptables-nft", add: "iptables-nft -A OUTPUT -p tcp --dport 5044 -j DROP", hooks: []string{"output"}, side: "dport"},
		{name: "iptables-legacy", add: "iptables-legacy -w -A OUTPUT -p tcp --sport 5044 -j DROP", hooks: []string{"output"}, side: "sport"},
		{name: "multiport, legacy", add: "iptables-legacy -w -A INPUT -p tcp -m multiport --dports 5044,5045 -j DROP", hooks: []string{"input"}, side: "dport"},
		{name: "both sides", add: "iptables-legacy -w -A INPUT -p tcp -m multiport --ports 5044,5045 -j DROP", hooks: []string{"input"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := newEmpty(t)
			inside(t, ns, chains)
			if tt.before != "" {
				inside(t, ns, tt.before)
			}
			next := watchRules(t, ns)
			next()
			inside(t, ns, tt.add)
			c := changed(next)
			for c.Kind != New {
				c = changed(next)
			}
			if r := *c.Rule; !slices.Equal(r.Hooks, tt.hooks) || r.Side != tt.side || r.Absent != tt.absent || r.Loose != tt.loose {
				t.Errorf("hooks %q, side %q, absent %q, loose %t of %s; want %q, %q, %q, %t", r.Hooks, r.Side, r.Absent, r.Loose, r.Text, tt.hooks, tt.side, tt.absent, tt.loose)
			}
		})
	}
}

// A rule whose chain stands idle is told again when a jump leads there, and when it
// is gone.
func TestRuleReachedForAWhile(t *testing.T) {
	ns := newEmpty(t)
	inside(t, ns, "iptables-nft -N FOO")
	inside(t, ns, "iptables-nft -A FOO -j DROP")
	next := watchRules(t, ns)
	c := changed(next)
	if c.Kind != Present || !c.Rule.Loose || !c.Rule.Concerns(flow.NewPorts(5044)) {
		t.Fatalf("%+v, want a rule that stands idle", c.Rule)
	}
	for _, step := range []struct {
		command string
		loose   bool
	}{{"iptables-nft -I OUTPUT -p tcp --dport 5044 -j FOO", false}, {"iptables-nft -D OUTPUT 1", true}} {
		inside(t, ns, step.command)
		if c = changed(next); c.Kind != Update || c.Rule.Loose != step.loose || c.By == "" || c.Rule.Packets == nil {
			t.Errorf("%s: %+v, rule %+v", step.command, c, c.Rule)
		}
	}
}
