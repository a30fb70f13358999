package middlebox

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// A standing rule whose set gets an element, and loses it, is told as if it came and
// went, for as much as the element matches.
func TestElements(t *testing.T) {
	for _, tt := range []struct {
		name, set, rule string // of the set @s
		element         string
		remove          string // empty: the element is deleted
		addrs, side     string
		ports           flow.Ports
		spelled         string
		vague, spared   bool
		not             bool
	}{
		{name: "an address", set: "type ipv4_addr ;", rule: "ip daddr @s drop", element: "10.1.2.3", addrs: "[10.1.2.3/32]"},
		{name: "an address, flushed", set: "type ipv4_addr ;", rule: "tcp dport 5044 ip saddr @s reject", element: "10.1.2.3", remove: "flush set inet x s", addrs: "[10.1.2.3/32]", ports: flow.NewPorts(5044), side: "dport"},
		{name: "IPv6", set: "type ipv6_addr ;", rule: "ip6 saddr @s drop", element: "2001:db8::1", addrs: "[2001:db8::1/128]"},
		{name: "a network", set: "type ipv4_addr ; flags interval ;", rule: "ip daddr @s drop", element: "10.1.0.0/16", addrs: "[10.1.0.0/16]"},
		{name: "to the last address", set: "type ipv4_addr ; flags interval ;", rule: "ip daddr @s drop", element: "240.0.0.0/4", addrs: "[240.0.0.0/4]"},
		{name: "from one to another", set: "type ipv4_addr ; flags interval ;", rule: "ip daddr @s drop", element: "10.1.2.3-10.1.2.9", vague: true, addrs: "[]"},
		{name: "a port", set: "type inet_service ;", rule: "tcp dport @s drop", element: "5044", addrs: "[]", ports: flow.NewPorts(5044), side: "dport"},
		{name: "another port", set: "type inet_service ;", rule: "tcp dport @s drop", element: "80", addrs: "[]", ports: flow.NewPorts(80), side: "dport", spared: true},
		{name: "ports", set: "type inet_service ; flags interval ;", rule: "tcp sport @s drop", element: "5000-6000", addrs: "[]", ports: flow.NewPorts(5044), side: "sport"},
		{name: "to the last port", set: "type inet_service ; flags interval ;", rule: "tcp dport @s drop", element: "1024-65535", addrs: "[]", ports: flow.NewPorts(5044), side: "dport"},
		{name: "an address and a port", set: "type ipv4_addr . inet_service ;", rule: "ip daddr . tcp dport @s drop", element: "10.1.2.3 . 5044", addrs: "[10.1.2.3/32]", ports: flow.NewPorts(5044), side: "dport"},
		{name: "a network and ports", set: "type ipv4_addr . inet_service ; flags interval ;", rule: "ip saddr . tcp dport @s drop", element: "10.1.0.0/16 . 5000-6000", addrs: "[10.1.0.0/16]", ports: flow.NewPorts(5044), side: "dport"},
		{name: "a protocol and a port", set: "type inet_proto . inet_service ;", rule: "meta l4proto . th dport @s drop", element: "tcp . 5044", addrs: "[]", ports: flow.NewPorts(5044), side: "dport"},
		{name: "another protocol", set: "type inet_proto . inet_service ;", rule: "meta l4proto . th dport @s drop", element: "udp . 5044", addrs: "[]", ports: flow.NewPorts(5044), side: "dport", spared: true},
		{name: "an interface and an address", set: "type ifname . ipv4_addr ;", rule: "iifname . ip saddr @s drop", element: "lo . 10.1.2.3", vague: true, addrs: "[10.1.2.3/32]", spelled: "0x6c6f0000000000000000000000000000 . 10.1.2.3"},
		{name: "a mark", set: "type mark ;", rule: "meta mark @s drop", element: "0x1", vague: true, addrs: "[]", spelled: "-"},
		{name: "two sets", set: "type inet_service ;", rule: "tcp dport @s ip saddr { 10.1.2.3, 10.1.2.4 } drop", element: "5044", vague: true, addrs: "[]", ports: flow.NewPorts(5044), side: "dport"},
		{name: "exceptions", set: "type ipv4_addr ;", rule: "ip daddr != @s drop", element: "10.1.2.3", addrs: "[10.1.2.3/32]", not: true},
		{name: "what is let pass", set: "type ipv4_addr ;", rule: "ip daddr @s accept", element: "10.1.2.3", addrs: "[10.1.2.3/32]", spared: true},
		{name: "a verdict", set: "type inet_service : verdict ;", rule: "tcp dport vmap @s", element: "5044 : drop", addrs: "[]", ports: flow.NewPorts(5044), side: "dport"},
		{name: "another verdict", set: "type inet_service : verdict ;", rule: "tcp dport vmap @s", element: "5044 : accept", addrs: "[]", ports: flow.NewPorts(5044), side: "dport", spelled: "5044 : another verdict", spared: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := newEmpty(t)
			kind := "set"
			if strings.Contains(tt.set, ":") {
				kind = "map"
			}
			inside(t, ns, fmt.Sprintf("nft table inet x { %s s { %s } ; chain y { type filter hook forward priority 0 ; } ; }", kind, tt.set))
			inside(t, ns, "nft add rule inet x y "+tt.rule)
			next := watchRules(t, ns)
			next()
			came, went := New, Destroy
			if tt.not {
				came, went = went, came
			}
			spelled := tt.spelled
			if spelled == "" {
				spelled = tt.element
			}
			inside(t, ns, fmt.Sprintf("nft add element inet x s { %s }", tt.element))
			for _, want := range []EventKind{came, went} {
				c := next()
				for c.Kind == Present || c.Kind == Update {
					c = next()
				}
				if c.Kind != want || c.By != "nft" || c.PID == 0 || c.Within != 0 {
					t.Fatalf("%+v %+v, want %s", c, c.Rule, want)
				}
				t.Logf("%s by %s: %s", c.Kind, c.By, c.Rule.Text)
				r := *c.Rule
				if r.Set != "s" || r.Element != spelled && spelled != "-" || !strings.Contains(r.Text, r.Element) || r.Each ||
					fmt.Sprint(r.Addrs) != tt.addrs || !slices.Equal(r.Ports, tt.ports) || r.Side != tt.side || r.Vague != tt.vague || r.Handle == 0 || !slices.Equal(r.Hooks, []string{"forward"}) && !tt.spared {
					t.Errorf("%+v", r)
				}
				if r.Concerns(flow.NewPorts(5044)) == tt.spared {
					t.Errorf("concerns the port: %t", tt.spared)
				}
				if want == went {
					break
				}
				if tt.remove != "" {
					inside(t, ns, "nft "+tt.remove)
				} else {
					inside(t, ns, fmt.Sprintf("nft delete element inet x s { %s }", tt.element))
				}
			}
		})
	}
}

// The kernel does not tell that the time of an element is over.
func TestElementExpires(t *testing.T) {
	ns := newEmpty(t)
	inside(t, ns, "nft table inet x { set s { type ipv4_addr ; flags timeout ; } ; chain y { type filter hook forward priority 0 ; ip daddr @s counter drop ; } ; }")
	next := watchRules(t, ns)
	next()
	const stands, slack = 300 * time.Millisecond, 50 * time.Millisecond
	added := time.Now()
	inside(t, ns, "nft add element inet x s { 10.1.2.3 timeout 300ms, 10.1.2.4 }")
	var told time.Time // that it came: from when it is reckoned, at the latest
	for {
		c := changed(next)
		switch {
		case c.Rule.Element != "10.1.2.3":
		case c.Kind == New:
			told = time.Now()
		case c.Kind == Destroy:
			ended := c.Time.Add(-c.Within)
			if ended.Before(added.Add(stands-slack)) || ended.After(told.Add(stands+slack)) || c.By != "" || c.Rule.Packets == nil {
				t.Errorf("it ended %s after it was added and %s after that was told, %+v", ended.Sub(added), ended.Sub(told), c)
			}
			return
		}
	}
}

// A rule that comes is told with what its set holds.
func TestRuleWithElements(t *testing.T) {
	const sets = "nft table inet x { set few { type ipv4_addr ; elements = { 10.1.2.3, 10.1.2.4 } ; } ; set learns { type ipv4_addr ; size 64 ; flags dynamic ; elements = { 10.1.2.3 } ; } ; set many { type inet_service ; elements = { %s } ; } ; chain y { type filter hook forward priority 0 ; } ; }"
	many := make([]string, 2*maxElements)
	for i := range many {
		many[i] = fmt.Sprint(5000 + i)
	}
	for _, tt := range []struct {
		rule     string
		elements []string
		each     bool
	}{
		{"ip daddr @few drop", []string{"10.1.2.3", "10.1.2.4"}, true},
		{"tcp dport { 80, 5044 } drop", []string{"5044"}, true},
		{"tcp dport vmap { 80 : drop, 5044 : drop }", []string{"5044 : drop"}, true},
		{"tcp dport vmap { 80 : drop, 5044 : accept }", nil, true},
		{"ip daddr @learns drop", nil, false},
		{"tcp dport @many drop", nil, false},
		{"ip daddr != @few drop", nil, false},
	} {
		t.Run(tt.rule, func(t *testing.T) {
			t.Parallel()
			for _, before := range []bool{false, true} {
				ns := newEmpty(t)
				inside(t, ns, fmt.Sprintf(sets, strings.Join(many, ", ")))
				kind := New
				var next func() RuleChange
				if before {
					inside(t, ns, "nft add rule inet x y "+tt.rule)
					next, kind = watchRules(t, ns), Present
				} else {
					next = watchRules(t, ns)
					next()
					inside(t, ns, "nft add rule inet x y "+tt.rule)
				}
				c := next()
				for c.Kind != kind || c.Rule.Handle == 0 {
					c = next()
				}
				if c.Rule.Each != tt.each || c.Rule.Element != "" {
					t.Errorf("each %t: %+v", c.Rule.Each, c.Rule)
				}
				inside(t, ns, "nft add rule inet x y counter") // the end of what is to come
				var got []string
				for c = next(); c.Kind != New || c.Rule.Text != "counter"; c = next() {
					if c.Kind == kind && c.Rule.Element != "" {
						got = append(got, c.Rule.Element)
					}
				}
				if slices.Sort(got); !slices.Equal(got, tt.elements) {
					t.Errorf("elements %q, want %q", got, tt.elements)
				}
			}
		})
	}
}

// A chain that goes takes its policy along, and a table that goes with its owner,
// of which the kernel does not tell, all that it held.
func TestTableGoes(t *testing.T) {
	const table = "nft table inet x { chain y { type filter hook forward priority 0 ; policy drop ; tcp dport 5044 drop ; } ; }"
	ends := func(t *testing.T, next func() RuleChange, by string) {
		t.Helper()
		for _, text := range []string{"drop", "policy drop"} {
			c := changed(next)
			for c.Kind == New || c.Kind == Update || c.Kind == Present {
				c = changed(next)
			}
			if c.Kind != Destroy || !strings.Contains(c.Rule.Text, text) || c.By != by || (c.Within > 0) != (by == "") {
				t.Errorf("%+v %+v, want the end of %q", c, c.Rule, text)
			}
		}
	}
	for _, tt := range []struct {
		command string
		before  bool
	}{{"nft delete table inet x", false}, {"nft flush ruleset", false}, {"nft flush ruleset", true}} {
		t.Run(fmt.Sprint(tt.command, tt.before), func(t *testing.T) {
			t.Parallel()
			ns := newEmpty(t)
			if tt.before {
				inside(t, ns, table)
			}
			next := watchRules(t, ns)
			next()
			if !tt.before {
				inside(t, ns, table)
			}
			inside(t, ns, tt.command)
			ends(t, next, "nft")
		})
	}
	t.Run("its owner dies", func(t *testing.T) {
		t.Parallel()
		ns := newEmpty(t)
		next := watchRules(t, ns)
		next()
		owner := exec.Command("nft", "-i")
		in, err := owner.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := ns.Start(owner); err != nil {
			t.Fatal(err)
		}
		owned := strings.Replace(strings.TrimPrefix(table, "nft "), "{", "{ flags owner ;", 1)
		if _, err := fmt.Fprintln(in, "add", owned); err != nil {
			t.Fatal(err)
		}
		for c := changed(next); c.Kind != New; {
			c = changed(next)
		}
		if err := owner.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = owner.Wait() // killed
		ends(t, next, "")
	})
}

// A table that comes in the place of an owned one tells that this is gone, with what its
// sets held, however soon.
func TestTableAgain(t *testing.T) {
	ns := newEmpty(t)
	owner := exec.Command("nft", "-i")
	in, err := owner.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Start(owner); err != nil {
		t.Fatal(err)
	}
	const table = "add table inet x { %s set s { type inet_service ; %s } ; chain y { type filter hook forward priority 0 ; tcp dport @s drop ; } ; }\n"
	fmt.Fprintf(in, table, "flags owner ;", "elements = { 5044 } ;")
	var told []string
	w, err := openRules(ns, flow.NewPorts(5044), func(c RuleChange) {
		if c.Kind == Destroy || c.Kind == New {
			told = append(told, fmt.Sprint(c.Kind, " ", c.Rule.Chain, c.Rule.Element, " ", c.Within > 0))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for deadline := time.Now().Add(60 * time.Second); len(w.held) == 0; {
		if err := w.begin(); err != nil || time.Now().After(deadline) {
			t.Fatalf("%v, or no table within 60 s", err)
		}
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // killed
	inside(t, ns, "nft "+strings.TrimSpace(fmt.Sprintf(table, "", "")))
	msgs, err := w.dump(unix.NFT_MSG_GETTABLE)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // and only once
		for _, m := range msgs {
			if err := w.tableChanged(true, m.Data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := []string{"DESTROY y true", "DESTROY y true"}; !slices.Equal(told, want) { // the rule, and the policy
		t.Errorf("told %q, want %q", told, want)
	}
	if c := w.holds(setName{"inet", "x", "s"}); !c.all || len(c.list) > 0 {
		t.Errorf("the new set holds %+v", c)
	}
}

func TestRanged(t *testing.T) {
	at := func(key byte, closes bool) element { return element{key: []byte{10, key}, closes: closes} }
	got := ranged([]element{at(9, false), at(5, true), at(3, false), at(5, false), at(8, true), at(0, true)})
	if len(got) != 3 || !bytes.Equal(got[0].end, []byte{10, 4}) || !bytes.Equal(got[1].end, []byte{10, 7}) || !bytes.Equal(got[2].end, []byte{255, 255}) {
		t.Errorf("%+v", got)
	}
	if b := before([]byte{10, 0, 0}); !bytes.Equal(b, []byte{9, 255, 255}) {
		t.Errorf("before: %v", b)
	}
}

// Whatever an element says, of whatever lookup, it is a rule that can be told.
func FuzzElement(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x06\x00\x02\x00s\x00\x00\x00\x14\x00\x03\x80\x10\x00\x01\x80\x0c\x00\x01\x80\x08\x00\x01\x00\x0a\x01\x02\x03"), uint8(addrPart), uint8(4), uint8(portPart), uint8(2), true)
	f.Add([]byte("\x02\x00\x00\x00\x14\x00\x03\x80\x10\x00\x01\x80\x0c\x00\x01\x80\x06\x00\x01\x00\x13\xb4\x00\x00"), uint8(portPart), uint8(2), uint8(0), uint8(200), false)
	f.Fuzz(func(t *testing.T, b []byte, is1, size1, is2, size2 uint8, mapped bool) {
		_, list, err := decodeElements(b)
		if err != nil {
			return
		}
		sizes := map[int]int{addrPart: 4, portPart: 2, protoPart: 1}
		sized := func(is, size uint8) part {
			p := part{is: int(is % 4), side: 1 + int(size%2), size: max(int(size), 1)}
			if n, ok := sizes[p.is]; ok {
				p.size = n
			}
			return p
		}
		l := lookup{set: "s", verdict: mapped, parts: []part{sized(is1, size1), sized(is2, size2)}}
		for _, e := range append(ranged(list), list...) {
			if r := (Rule{Text: "x"}).with(l, e, flow.NewPorts(5044)); r.Text == "" || r.Set != "s" {
				t.Errorf("%+v of %+v", r, e)
			}
		}
	})
}

// After messages were lost the sets and the policies are compared with what is known.
func TestElementsAgain(t *testing.T) {
	ns := newEmpty(t)
	inside(t, ns, "nft table inet x { set s { type ipv4_addr ; elements = { 10.1.2.3, 10.1.2.4 } ; } ; chain y { type filter hook forward priority 0 ; policy accept ; ip daddr @s drop ; } ; }")
	var told []string
	w, err := openRules(ns, flow.NewPorts(5044), func(c RuleChange) {
		if c.Rule != nil && c.Kind != Present {
			told = append(told, fmt.Sprint(c.Kind, " ", c.Rule.Element, c.Rule.Text[:6], " ", c.Within > 0))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := w.begin(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		commands []string
		want     []string
	}{
		{nil, nil},
		{[]string{"nft add element inet x s { 10.1.2.5 }", "nft delete element inet x s { 10.1.2.3 }"}, []string{"DESTROY 10.1.2.3meta n true", "NEW 10.1.2.5meta n true"}},
		{[]string{"nft chain inet x y { policy drop ; }"}, []string{"UPDATE policy true"}},
		{[]string{"nft flush chain inet x y"}, []string{"DESTROY meta n true"}},
		{[]string{"nft delete table inet x"}, []string{"DESTROY policy true"}},
	} {
		for _, c := range step.commands {
			inside(t, ns, c)
		}
		told = nil
		if err := w.again(); err != nil {
			t.Fatal(err)
		}
		if slices.Sort(told); !slices.Equal(told, step.want) {
			t.Errorf("%q: told %q, want %q", step.commands, told, step.want)
		}
	}
}
