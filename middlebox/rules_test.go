package middlebox

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/flow"
	"halfopen/netns"
)

func newEmpty(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

// inside runs a program in the namespace. The packages iptables and nftables
// have the ones that these tests need.
func inside(t *testing.T, ns *netns.NS, command string) {
	t.Helper()
	args := strings.Fields(command)
	cmd := exec.Command(args[0], args[1:]...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := ns.Start(cmd); err != nil {
		t.Fatalf("%s: %v; \"make packages\" installs what is missing", command, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, &said)
	}
}

// watchRules returns the changes one by one.
func watchRules(t *testing.T, ns *netns.NS) func() RuleChange {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changes, done := make(chan RuleChange, 100), make(chan error, 1)
	go func() {
		done <- WatchRules(ctx, ns, flow.NewPorts(5044), 50*time.Millisecond, func(c RuleChange) { changes <- c })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	return func() RuleChange {
		t.Helper()
		select {
		case c := <-changes:
			return c
		case err := <-done:
			done <- nil
			t.Fatalf("the watch ended: %v", err)
		case <-time.After(60 * time.Second):
			t.Fatal("no change was told within 60 s")
		}
		panic("not reached")
	}
}

func TestRulesOfAnExperimenter(t *testing.T) {
	for _, tt := range []struct {
		name, before, add, remove string
		want                      Rule
		by                        string
	}{
		{
			name: "iptables-nft", before: "iptables-nft -A INPUT -p udp -j ACCEPT",
			add: "iptables-nft -I OUTPUT -p tcp --dport 5044 -j DROP", remove: "iptables-nft -D OUTPUT -p tcp --dport 5044 -j DROP",
			want: Rule{Family: "ip", Table: "filter", Chain: "OUTPUT", Drops: true, Protocol: "tcp", Ports: flow.NewPorts(5044)}, by: "iptables-nft",
		},
		{
			name: "multiport", before: "iptables-nft -N DOCKER-USER",
			add: "iptables-nft -I DOCKER-USER -p tcp -m multiport --ports 5044,24224 -j REJECT", remove: "iptables-nft -F DOCKER-USER",
			want: Rule{Family: "ip", Table: "filter", Chain: "DOCKER-USER", Drops: true, Protocol: "tcp", Ports: flow.NewPorts(5044, 24224)}, by: "iptables-nft",
		},
		{
			name: "nft", before: "nft table inet x { chain y { type filter hook forward priority 0 ; } ; }",
			add: "nft add rule inet x y ip daddr 10.0.0.1 tcp sport 5044 counter drop", remove: "nft delete table inet x",
			want: Rule{Family: "inet", Table: "x", Chain: "y", Drops: true, Protocol: "tcp", Ports: flow.NewPorts(5044)}, by: "nft",
		},
		{
			name: "nft set", before: "nft table ip6 x { chain y { type filter hook input priority 0 ; } ; }",
			add: "nft add rule ip6 x y tcp dport { 5044, 5045 } reject", remove: "nft flush ruleset",
			want: Rule{Family: "ip6", Table: "x", Chain: "y", Drops: true, Protocol: "tcp", More: true}, by: "nft",
		},
		{
			name: "another protocol", before: "nft table ip x { chain y { type filter hook input priority 0 ; } ; }",
			add: "nft add rule ip x y udp dport 5044 drop", remove: "nft flush chain ip x y",
			want: Rule{Family: "ip", Table: "x", Chain: "y", Drops: true, Protocol: "udp", Ports: flow.NewPorts(5044)}, by: "nft",
		},
		{
			name: "iptables-legacy", before: "iptables-legacy -w -A INPUT -p udp -j ACCEPT",
			add: "iptables-legacy -w -I OUTPUT -p tcp --dport 5044 -j DROP", remove: "iptables-legacy -w -D OUTPUT -p tcp --dport 5044 -j DROP",
			want: Rule{Family: "ip legacy", Table: "filter", Chain: "OUTPUT", Drops: true, Protocol: "tcp", Ports: flow.NewPorts(5044)},
		},
		{
			name: "ip6tables-legacy, a chain", before: "ip6tables-legacy -w -N MINE",
			add: "ip6tables-legacy -w -A MINE -p tcp -m multiport --sports 5044,9600:9700 -j DROP", remove: "ip6tables-legacy -w -F MINE",
			want: Rule{Family: "ip6 legacy", Table: "filter", Chain: "MINE", Drops: true, Protocol: "tcp", Ports: flow.NewPorts(5044, 9600, 9700), More: true},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := newEmpty(t)
			inside(t, ns, tt.before)
			next := watchRules(t, ns)
			if c := next(); c.Kind != Watching {
				t.Fatalf("first %+v, want WATCHING", c)
			}
			inside(t, ns, tt.add)
			c := next()
			for c.Kind == Present || c.Kind == Update {
				c = next()
			}
			if strings.Contains(tt.add, "{") { // once more for each element that concerns the port
				if e := next(); e.Kind != New || e.Rule.Element != "5044" {
					t.Errorf("%+v, want the element", e.Rule)
				}
			}
			check := func(kind EventKind) {
				t.Helper()
				if c.Kind != kind || c.Rule == nil {
					t.Fatalf("%+v, want %s with a rule", c, kind)
				}
				got := *c.Rule
				t.Logf("%s by %s[%d], within %s: %s", c.Kind, c.By, c.PID, c.Within, got.Text)
				if c.By != tt.by || (tt.by != "") != (c.PID != 0) || (tt.by == "") != (c.Within > 0) {
					t.Errorf("by %q[%d], within %s; want %q", c.By, c.PID, c.Within, tt.by)
				}
				if got.Text == "" {
					t.Error("no text")
				}
				if got.Family != tt.want.Family || got.Table != tt.want.Table || got.Chain != tt.want.Chain || got.Drops != tt.want.Drops ||
					got.Protocol != tt.want.Protocol || !slices.Equal(got.Ports, tt.want.Ports) || got.More != tt.want.More {
					t.Errorf("rule %+v, want %+v", got, tt.want)
				}
				if want := tt.want.Protocol == "tcp"; got.Concerns(flow.NewPorts(5044)) != want {
					t.Errorf("concerns 5044: %t, want %t", !want, want)
				}
			}
			check(New)
			inside(t, ns, tt.remove)
			for c = next(); c.Kind == Update; {
				c = next()
			}
			check(Destroy)
		})
	}
}

// Reading a legacy table makes it, with its hooks; a witness must not.
func TestRulesMakeNoTable(t *testing.T) {
	ns := newEmpty(t)
	next := watchRules(t, ns)
	next()
	inside(t, ns, "nft table ip x { chain y { type filter hook input priority 0 ; policy drop ; } ; }")
	c := next()
	if c.Kind != Update || !c.Rule.Drops || c.Rule.Text != "policy drop" || !c.Rule.Concerns(flow.NewPorts(1)) {
		t.Errorf("%+v, want the policy", c)
	}
	for _, f := range legacyFamilies {
		names, err := os.ReadFile(ns.ProcRoot() + "/net/" + f.names)
		if err != nil || len(names) > 0 {
			t.Errorf("%s: tables %q, %v; want none", f.names, names, err)
		}
	}
}

func TestLegacyHostile(t *testing.T) {
	for _, f := range legacyFamilies {
		blob := make([]byte, f.ip+200)
		for i := range blob {
			if _, err := decodeLegacy(f, "filter", blob[:i], nil); err == nil && i > 0 {
				t.Fatalf("%s: %d zeros were taken for rules", f.name, i)
			}
		}
	}
}

func FuzzRule(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0})
	f.Add([]byte("\x02\x00\x00\x00\x0b\x00\x01\x00filter\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = decodeRule(b)
		_, _, _ = decodePolicy(b)
		_, _, _, _, _ = decodeChain(b)
		_, _, _ = decodeTable(b)
		_, _, _ = decodeSet(b)
		_, _, _ = decodeGeneration(b)
		for _, fam := range legacyFamilies {
			_, _ = decodeLegacy(fam, "filter", b, map[uint32]string{0: "INPUT"})
		}
		_, _ = xtPorts("tcp", b)
		_, _ = xtPorts("multiport", b)
		_, _ = xtSides("tcp", b), xtSides("multiport", b)
	})
}

// A rule tells the addresses that it asks for, and none that it excludes.
func TestRuleAddresses(t *testing.T) {
	for _, tt := range []struct {
		before, add string
		want        string
	}{
		{add: "iptables-nft -A OUTPUT -p tcp -d 10.1.2.3 --dport 5044 -j DROP", want: "[10.1.2.3/32]"},
		{add: "iptables-nft -A OUTPUT -p tcp -s 10.1.0.0/16 ! -d 10.1.2.3 -j DROP", want: "[10.1.0.0/16]"},
		{add: "iptables-nft -A INPUT -s 10.16.0.0/12 -j REJECT", want: "[10.16.0.0/12]"},
		{add: "ip6tables-nft -A INPUT -s 2001:db8::/37 -j DROP", want: "[2001:db8::/37]"},
		{add: "iptables-legacy -w -A INPUT -s 10.16.0.0/12 ! -d 10.1.2.3 -j DROP", want: "[10.16.0.0/12]"},
		{add: "ip6tables-legacy -w -A INPUT -i eth0 -s 2001:db8::/37 -d 2001:db8::1 -j DROP", want: "[2001:db8::/37 2001:db8::1/128]"},
		{before: "nft table inet x { chain y { type filter hook input priority 0 ; } ; }", add: "nft add rule inet x y ip6 daddr 2001:db8::1 ip6 saddr 2001:db8::/20 drop", want: "[2001:db8::1/128 2001::/20]"},
		{before: "nft table inet x { chain y { type filter hook input priority 0 ; } ; }", add: "nft add rule inet x y ip saddr { 10.0.0.1, 10.0.0.2 } drop", want: "[]"},
	} {
		t.Run(tt.add, func(t *testing.T) {
			t.Parallel()
			ns := newEmpty(t)
			if tt.before != "" {
				inside(t, ns, tt.before)
			}
			next := watchRules(t, ns)
			next()
			inside(t, ns, tt.add)
			c := next()
			for c.Kind != New || !c.Rule.Drops { // a legacy table comes with its policies
				c = next()
			}
			if got := fmt.Sprint(c.Rule.Addrs); got != tt.want || !c.Rule.Drops {
				t.Errorf("addresses %s, want %s of %s", got, tt.want, c.Rule.Text)
			}
		})
	}
}

// The counter of a rule that came meanwhile is told when it moves, and with its end.
func TestRuleCounts(t *testing.T) {
	for _, kind := range []string{"iptables-nft", "iptables-legacy"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ns := newRedirector(t)
			next := watchRules(t, ns)
			for c := next(); c.Kind == Present; c = next() {
				t.Logf("%+v", c)
			}
			inside(t, ns, kind+" -w -I OUTPUT -p tcp --dport 5044 -j DROP")
			c := next()
			for c.Kind != New || !c.Rule.Drops {
				c = next()
			}
			if *c.Rule.Packets != 0 {
				t.Errorf("%d packets at first", *c.Rule.Packets)
			}
			err := ns.Do(func() error {
				_, err := net.DialTimeout("tcp", "127.0.0.1:5044", time.Second)
				return err
			})
			if err == nil {
				t.Fatal("the rule drops nothing")
			}
			if c = changed(next); c.Kind != Counted || c.Rule.Packets == nil || *c.Rule.Packets == 0 || c.Rule.Text == "" {
				t.Errorf("%+v, want COUNTED", c)
			}
			inside(t, ns, kind+" -w -D OUTPUT 1")
			if c = changed(next); c.Kind != Destroy || c.Rule.Packets == nil || *c.Rule.Packets == 0 {
				t.Errorf("%+v, want DESTROY with the counter", c)
			}
		})
	}
}

// changed is the next change of a dropping rule.
func changed(next func() RuleChange) RuleChange {
	for {
		if c := next(); c.Rule != nil && c.Rule.Drops {
			return c
		}
	}
}
