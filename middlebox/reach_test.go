package middlebox

import (
	"slices"
	"strings"
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
		{name: "a dormant table", before: "nft add table inet z { flags dormant ; } ; add chain inet z in { type filter hook input priority 0 ; }", add: "nft add rule inet z in tcp dport 5044 drop", side: "dport", loose: true},
		{name: "no hook", add: "nft add rule inet x one tcp dport 5044 drop", side: "dport", loose: true},
		{name: "jumps", before: "nft add rule inet x incoming jump two ; add rule inet x through goto two ; add rule inet x two jump one", add: "nft add rule inet x one drop", hooks: []string{"forward", "input"}},
		{name: "a verdict map", before: "nft add rule inet x incoming ct state vmap { new : jump two }", add: "nft add rule inet x two drop", hooks: []string{"input"}},
		{name: "a verdict map that leads elsewhere", before: "nft add rule inet x incoming ct state vmap { new : jump two }", add: "nft add rule inet x one drop", loose: true},
		{name: "a verdict map that packets fill", before: "nft add map inet x m { type inet_service : verdict ; flags dynamic ; } ; add rule inet x incoming tcp dport vmap @m", add: "nft add rule inet x one drop"},
		{name: "no such interface", add: `nft add rule inet x incoming iifname nope tcp dport { 5044, 9600 } drop`, hooks: []string{"input"}, absent: "nope"},
		{name: "an interface", add: `nft add rule inet x incoming iifname lo drop`, hooks: []string{"input"}},
		{name: "interfaces by their beginning", add: `nft add rule inet x incoming iifname "nope*" drop`, hooks: []string{"input"}},
		{name: "iptables-nft", add: "iptables-nft -A OUTPUT -p tcp --dport 5044 -j DROP", hooks: []string{"output"}, side: "dport"},
		{name: "iptables-legacy", add: "iptables-legacy -w -A OUTPUT -p tcp --sport 5044 -j DROP", hooks: []string{"output"}, side: "sport"},
		{name: "a chain that none leads to, legacy", before: "iptables-legacy -w -N FOO", add: "iptables-legacy -w -A FOO -j DROP", loose: true},
		{name: "jumps, legacy", before: "iptables-legacy -w -N FOO\niptables-legacy -w -N BAR\niptables-legacy -w -A INPUT -j BAR\niptables-legacy -w -A FORWARD -g BAR\niptables-legacy -w -A BAR -j FOO", add: "iptables-legacy -w -A FOO -j DROP", hooks: []string{"forward", "input"}},
		{name: "multiport, legacy", add: "iptables-legacy -w -A INPUT -p tcp -m multiport --dports 5044,5045 -j DROP", hooks: []string{"input"}, side: "dport"},
		{name: "both sides", add: "iptables-legacy -w -A INPUT -p tcp -m multiport --ports 5044,5045 -j DROP", hooks: []string{"input"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := newEmpty(t)
			inside(t, ns, chains)
			for c := range strings.Lines(tt.before) {
				inside(t, ns, c)
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
	for _, tt := range []struct {
		name, before, jump, back string
		by                       string
	}{
		{name: "iptables-nft", before: "iptables-nft -N FOO\niptables-nft -A FOO -j DROP", jump: "iptables-nft -I OUTPUT -p tcp --dport 5044 -j FOO", back: "iptables-nft -D OUTPUT 1", by: "iptables"},
		{name: "iptables-legacy", before: "iptables-legacy -w -N FOO\niptables-legacy -w -A FOO -j DROP", jump: "iptables-legacy -w -I OUTPUT -p tcp --dport 5044 -j FOO", back: "iptables-legacy -w -D OUTPUT 1"},
		{name: "a dormant table", before: "nft add table inet x { flags dormant ; } ; add chain inet x out { type filter hook output priority 0 ; } ; add rule inet x out tcp dport 5044 counter drop", jump: "nft add table inet x", back: "nft add table inet x { flags dormant ; }", by: "nft"},
		{name: "a renamed chain", before: "nft add table inet x ; add chain inet x one ; add chain inet x out { type filter hook output priority 0 ; } ; add rule inet x one tcp dport 5044 counter drop", jump: "nft rename chain inet x one two\nnft add rule inet x out jump two", back: "nft flush chain inet x out", by: "nft"},
		{name: "an element of a map", before: "nft table inet x { map m { type inet_service : verdict ; } ; chain foo { counter drop ; } ; chain out { type filter hook output priority 0 ; tcp dport vmap @m ; } ; }",
			jump: "nft add element inet x m { 5044 : goto foo }", back: "nft delete element inet x m { 5044 : goto foo }", by: "nft"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := newEmpty(t)
			for c := range strings.Lines(tt.before) {
				inside(t, ns, c)
			}
			next := watchRules(t, ns)
			c := changed(next)
			if c.Kind != Present || !c.Rule.Loose || !c.Rule.Concerns(flow.NewPorts(5044)) {
				t.Fatalf("%+v, want a rule that stands idle", c.Rule)
			}
			for _, step := range []struct {
				command string
				loose   bool
			}{{tt.jump, false}, {tt.back, true}} {
				for c := range strings.Lines(step.command) {
					inside(t, ns, c)
				}
				if c = changed(next); c.Kind != Update || c.Rule.Loose != step.loose || !strings.HasPrefix(c.By, tt.by) || (c.By == "") != (tt.by == "") || c.Rule.Packets == nil {
					t.Errorf("%s: %+v, rule %+v", step.command, c, c.Rule)
				}
			}
		})
	}
}
