package verdict

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/fault"
	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/timeline"
)

// ruling is a packet filter rule in a film.
type ruling struct {
	from, to int // seconds; to 0: it stays
	rule     middlebox.Rule
	counts   uint64        // packets by its end, where it counts
	within   time.Duration // of a table that is compared
	seen     uint64        // packets that it had counted by then
	place    string        // "host" if empty
	jump     bool          // it stays, and only from and to these times a hook leads to it
	before   bool          // it stood when the recording began, and is loaded anew at from
	policy   bool          // of a chain that goes with its table
	taken    bool          // the rule goes whose element it is
}

// byPort is what an experimenter's rule asks for.
var byPort = middlebox.Rule{Family: "ip", Table: "filter", Chain: "FORWARD", Handle: 7, Drops: true, Protocol: "tcp", Ports: flow.NewPorts(5044), Text: "tcp dport 5044 counter drop"}

func counting(r middlebox.Rule) middlebox.Rule {
	r.Packets, r.Bytes = new(uint64), new(uint64)
	return r
}

func but(r middlebox.Rule, change func(*middlebox.Rule)) middlebox.Rule {
	change(&r)
	return r
}

// film records the rule's coming and going.
func (u ruling) film(m *shoot) {
	tell := func(kind middlebox.EventKind, n uint64) {
		r := u.rule
		if r.Packets != nil {
			r.Packets, r.Bytes = new(n), new(n*60)
		}
		m.add(timeline.Body{Rule: &timeline.Rule{At: cmp.Or(u.place, "host"), Change: middlebox.RuleChange{Kind: kind, Within: u.within, By: "iptables", PID: 4711, Rule: &r}}})
		m.rec.Records[len(m.rec.Records)-1].Took = u.within
	}
	switch {
	case m.second == 0 && u.before:
		tell(middlebox.Present, 3)
	case m.second == u.from && u.before:
		tell(middlebox.Destroy, 3)
		u.rule.Handle++
		tell(middlebox.New, 0)
	case m.second == 0 && u.jump:
		u.rule.Loose = true
		tell(middlebox.Present, 0)
	case m.second == u.from && u.jump:
		tell(middlebox.Update, 0)
	case m.second == u.to && u.jump:
		u.rule.Loose = true
		tell(middlebox.Update, u.counts)
	case m.second == u.from && u.policy:
		tell(middlebox.Update, 0)
	case m.second == u.from:
		tell(middlebox.New, u.seen)
	case m.second == u.to && u.taken:
		u.rule.Set, u.rule.Element, u.rule.Addrs, u.rule.Each = "", "", nil, true
		tell(middlebox.Destroy, u.counts)
	case m.second == u.from+1 && u.counts > 0:
		tell(middlebox.Counted, max(u.seen, 1))
	case m.second == u.to && u.to > 0:
		tell(middlebox.Destroy, u.counts)
	}
}

// pathScenario is a scenario with the window that the path's witnesses tell of.
type pathScenario struct {
	scenario
	window []int // seconds of its start and end; none: no window, or not by rules
	known  string
	warns  string
	never  string // rule of a finding that there must not be
	unsaid string // by any finding
	says   string // a finding

	unwarned string // by any warning
}

// inSet is a rule as far as it is about the receiver's address in a set.
var inSet = but(counting(byPort), func(r *middlebox.Rule) {
	r.Ports, r.Set, r.Element, r.Text = nil, "blocked", "10.51.0.2", "ip daddr in @blocked counter drop, with 10.51.0.2 in @blocked"
	r.Addrs = []netip.Prefix{netip.PrefixFrom(receiver.Addr(), receiver.Addr().BitLen())}
})

func cutByRule(u ruling, f film) film { return cutByRules(f, u) }

func cutByRules(f film, all ...ruling) film {
	f.path = func(m *shoot) {
		for _, u := range all {
			u.film(m)
		}
	}
	return f
}

// anew is a rule again, as a firewall has it that loads its rules anew.
func anew(r middlebox.Rule) middlebox.Rule {
	r.Handle += 10
	return r
}

// byDrop is a rule of "halfopen drop --method d", which a plain mark tells of: it drops
// what a proxy sends, and nothing of the shipper's.
var byDrop = but(byPort, func(r *middlebox.Rule) {
	r.Family, r.Table, r.Chain, r.Text = "inet", fault.Tables+"4242-1", "output", "meta mark 0xbd tcp dport 5044 objref drop"
})

// untold is one of another drop.
var untold = but(byDrop, func(r *middlebox.Rule) { r.Table = fault.Tables + "4343-1" })

// proxied tells of such a drop, beside what else is recorded of the path.
func proxied(f film) film {
	rest := f.path
	f.path = func(m *shoot) {
		if text, ok := map[int]string{10: timeline.DropStart, 20: timeline.DropEnd}[m.second]; ok {
			m.add(timeline.Body{Mark: &timeline.Mark{Text: "halfopen drop --method d in host: " + text, Table: byDrop.Family + " " + byDrop.Table}})
		}
		rest(m)
	}
	return f
}

var pathScenarios = []pathScenario{
	{scenario: scenario{name: "a rule of a drop that told of itself", film: proxied(cutByRule(ruling{from: 10, to: 20, rule: byDrop}, film{ships: from10(silent)})), stall: true, verdict: Stalled, class: SilentPeer}, unwarned: fault.Tables},
	{scenario: scenario{name: "a rule of a drop that told of itself, and stays", film: proxied(cutByRule(ruling{from: 10, rule: byDrop}, film{ships: from10(silent)})), stall: true, verdict: Stalled, class: SilentPeer}, unwarned: "packet"},
	{scenario: scenario{name: "a rule of a drop that told nobody", film: cutByRule(ruling{from: 10, to: 20, rule: byDrop}, film{ships: from10(silent)}), stall: true, verdict: Stalled, class: SilentPeer}, warns: fault.Tables},
	{scenario: scenario{name: "a drop that told nobody, beside one that told", film: proxied(cutByRules(film{ships: from10(silent)}, ruling{from: 10, to: 20, rule: byDrop}, ruling{from: 11, to: 20, rule: untold})), stall: true, verdict: Stalled, class: SilentPeer}, warns: untold.Table},
	{scenario: scenario{name: "a stranger's rule beside those of a drop", film: proxied(cutByRules(film{ships: from10(silent)}, ruling{from: 10, to: 20, rule: byDrop}, ruling{from: 11, to: 20, rule: byPort})), stall: true, verdict: Stalled, class: SilentPeer}, warns: "ip filter FORWARD", unwarned: fault.Tables},
	{scenario: scenario{name: "packets lost while a drop leads through its proxy", film: proxied(cutByRule(ruling{from: 10, to: 20, rule: byDrop}, film{ships: from10(dead)})), stall: true, verdict: Stalled, class: HalfOpen}, never: "packet filter"},

	{scenario: scenario{name: "a rule by hand", film: cutByRule(ruling{from: 10, to: 20, rule: counting(byPort), counts: 9}, film{seconds: 70, ships: from10(dead)}), stall: true, verdict: Reproduced, class: HalfOpen, findings: []string{"packet filter"}}, window: []int{10, 20}, known: byRules},
	{scenario: scenario{name: "a rule by hand, compared", film: cutByRule(ruling{from: 10, to: 20, rule: counting(byPort), counts: 9, within: 250 * time.Millisecond}, film{seconds: 70, ships: from10(dead)}), stall: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 20}, known: byRules},
	{scenario: scenario{name: "a rule by hand that does not count", film: cutByRule(ruling{from: 10, to: 20, rule: byPort}, film{seconds: 70, ships: from10(dead)}), stall: true, low: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 20}, known: byRules},
	{scenario: scenario{name: "a rule without ports", film: cutByRule(ruling{from: 10, to: 20, rule: but(counting(byPort), func(r *middlebox.Rule) { r.Ports, r.Protocol = nil, "" }), counts: 9}, film{seconds: 70, ships: from10(dead)}), stall: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 20}, known: byRules},
	{scenario: scenario{name: "a rule for the receiver's address", film: cutByRule(ruling{from: 10, to: 20, rule: but(counting(byPort), func(r *middlebox.Rule) { r.Addrs = []netip.Prefix{netip.PrefixFrom(receiver.Addr(), 24)} }), counts: 9}, film{seconds: 70, ships: from10(dead)}), stall: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 20}, known: byRules},
	{scenario: scenario{name: "a rule by hand, and it goes on", film: cutByRule(ruling{from: 10, to: 20, rule: counting(byPort), counts: 9}, film{seconds: 70, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 22})}), verdict: Recovered, by: ByResume}, window: []int{10, 20}, known: byRules},
	{scenario: scenario{name: "an element found late, of a rule that counted before", film: cutByRule(ruling{from: 10, to: 20, rule: inSet, seen: 1000, counts: 1000, within: 250 * time.Millisecond}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}, never: "packet filter", warns: "it counted 0 packets"},
	{scenario: scenario{name: "a rule that stays, compared", film: cutByRule(ruling{from: 10, rule: counting(byPort), seen: 3, counts: 3, within: 250 * time.Millisecond}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"packet filter"}}, window: []int{10}, known: byRules, says: "it counted at least 3 packets"},
	{scenario: scenario{name: "a rule that stays", film: cutByRule(ruling{from: 10, rule: counting(byPort), counts: 9}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"packet filter"}}, window: []int{10}, known: byRules, says: "it counted at least 1 packet"},
	{scenario: scenario{name: "a rule and marks", film: cutByRule(ruling{from: 11, to: 19, rule: counting(byPort), counts: 9}, film{seconds: 70, marks: []int{10, 20}, ships: from10(dead)}), stall: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 20}, known: byMarks},

	{scenario: scenario{name: "a rule by hand, and again for a moment", film: cutByRules(film{seconds: 70, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 18})}, ruling{from: 10, to: 16, rule: counting(byPort), counts: 24}, ruling{from: 16, to: 17, rule: anew(counting(byPort))}), verdict: Recovered, by: ByResume}, window: []int{10, 17}, known: byRules},
	{scenario: scenario{name: "a rule by hand, for a moment before", film: cutByRules(film{seconds: 70, ships: from10(dead)}, ruling{from: 8, to: 9, rule: counting(byPort)}, ruling{from: 9, to: 20, rule: anew(counting(byPort)), counts: 24}), stall: true, verdict: Reproduced, class: HalfOpen}, window: []int{9, 20}, known: byRules, warns: "it counted 0 packets"},
	{scenario: scenario{name: "a rule by hand, the firewall loaded anew meanwhile", film: cutByRules(film{seconds: 70, ships: from10(dead)}, ruling{from: 10, to: 15, rule: counting(byPort), counts: 9}, ruling{from: 15, to: 20, rule: anew(counting(byPort)), counts: 2}), stall: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 20}, known: byRules},
	{scenario: scenario{name: "a rule that stays, the firewall loaded anew meanwhile", film: cutByRules(film{ships: from10(dead)}, ruling{from: 10, to: 15, rule: counting(byPort), counts: 9}, ruling{from: 15, rule: anew(counting(byPort))}), stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"packet filter"}}, window: []int{10}, known: byRules},
	{scenario: scenario{name: "the same rule elsewhere later", film: cutByRules(film{seconds: 70, ships: from10(dead)}, ruling{from: 10, to: 13, rule: counting(byPort), counts: 9}, ruling{from: 13, rule: counting(byPort), place: "router"}), stall: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 13}, known: byRules, warns: "router, ip filter"},

	{scenario: scenario{name: "a rule that no hook leads to", film: cutByRule(ruling{from: 10, to: 20, rule: but(byPort, func(r *middlebox.Rule) { r.Loose = true })}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}},
	{scenario: scenario{name: "a rule for an interface that is not there", film: cutByRule(ruling{from: 10, to: 20, rule: but(byPort, func(r *middlebox.Rule) { r.Absent = "nope" })}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}},
	{scenario: scenario{name: "a rule for what the shipper's host forwards", film: cutByRule(ruling{from: 10, to: 20, place: "filebeat", rule: but(byPort, func(r *middlebox.Rule) { r.Hooks = []string{"forward"} })}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}},
	{scenario: scenario{name: "a rule for what the router forwards", film: cutByRule(ruling{from: 10, to: 20, rule: but(counting(byPort), func(r *middlebox.Rule) { r.Hooks = []string{"forward"} }), counts: 9}, film{seconds: 70, ships: from10(dead)}), stall: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 20}, known: byRules},
	{scenario: scenario{name: "a rule for what others send the shipper", film: cutByRule(ruling{from: 10, to: 20, place: "filebeat", rule: but(byPort, func(r *middlebox.Rule) { r.Hooks, r.Side = []string{"input"}, "dport" })}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}},
	{scenario: scenario{name: "a rule for the answers", film: cutByRule(ruling{from: 10, to: 20, place: "filebeat", rule: but(counting(byPort), func(r *middlebox.Rule) { r.Hooks, r.Side = []string{"input"}, "sport" }), counts: 9}, film{seconds: 70, ships: from10(dead)}), stall: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 20}, known: byRules},
	{scenario: scenario{name: "a rule that a jump leads to for a while", film: cutByRule(ruling{from: 10, to: 20, rule: but(counting(byPort), func(r *middlebox.Rule) { r.Ports = nil }), counts: 9, jump: true}, film{seconds: 70, ships: from10(dead)}), stall: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 20}, known: byRules},

	{scenario: scenario{name: "an element of a set", film: cutByRule(ruling{from: 10, to: 20, rule: inSet, counts: 9}, film{seconds: 70, ships: from10(dead)}), stall: true, verdict: Reproduced, class: HalfOpen, findings: []string{"packet filter"}}, window: []int{10, 20}, known: byRules},
	{scenario: scenario{name: "an element that stays", film: cutByRule(ruling{from: 10, rule: inSet, counts: 9}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"packet filter"}}, window: []int{10}, known: byRules, says: "with 10.51.0.2 in @blocked"},
	{scenario: scenario{name: "an element whose rule goes", film: cutByRule(ruling{from: 10, to: 20, rule: inSet, counts: 9, taken: true}, film{seconds: 70, ships: from10(dead)}), stall: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 20}, known: byRules},
	{scenario: scenario{name: "an element about another host", film: cutByRule(ruling{from: 10, to: 20, rule: but(inSet, func(r *middlebox.Rule) { r.Addrs = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} }), counts: 9}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}, unwarned: "@blocked"},
	{scenario: scenario{name: "an element that is not understood", film: cutByRule(ruling{from: 10, to: 20, rule: but(inSet, func(r *middlebox.Rule) { r.Vague = true }), counts: 9}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}, warns: "whether the element matches what the connection sends can't be told"},
	{scenario: scenario{name: "an element that is not understood, and acks move", film: cutByRule(ruling{from: 10, to: 20, rule: but(inSet, func(r *middlebox.Rule) { r.Vague = true }), counts: 9}, film{ships: one(phase{})}), verdict: NotStalled}, unwarned: "@blocked"},
	{scenario: scenario{name: "a rule that matches by elements alone", film: cutByRule(ruling{from: 10, to: 20, rule: but(counting(byPort), func(r *middlebox.Rule) { r.Each = true }), counts: 9}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}, unwarned: "packet filter"},
	{scenario: scenario{name: "a policy whose table goes", film: cutByRule(ruling{from: 10, to: 20, rule: middlebox.Rule{Family: "inet", Table: "mine", Chain: "forward", Drops: true, Text: "policy drop"}, policy: true}, film{seconds: 70, ships: from10(dead)}), stall: true, low: true, verdict: Reproduced, class: HalfOpen}, window: []int{10, 20}, known: byRules},

	{scenario: scenario{name: "a rule that met nothing", film: cutByRule(ruling{from: 10, to: 20, rule: counting(byPort)}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}, warns: "not known to have met"},
	{scenario: scenario{name: "a rule about another port", film: cutByRule(ruling{from: 10, to: 20, rule: but(counting(byPort), func(r *middlebox.Rule) { r.Ports = flow.NewPorts(80) }), counts: 9}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}},
	{scenario: scenario{name: "a rule about another host", film: cutByRule(ruling{from: 10, to: 20, rule: but(counting(byPort), func(r *middlebox.Rule) { r.Addrs = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} }), counts: 9}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}},
	{scenario: scenario{name: "a rule for others while acks move", film: cutByRule(ruling{from: 10, to: 40, rule: counting(byPort), counts: 9}, film{ships: one(phase{})}), verdict: NotStalled}, warns: "it counted 9 packets"},
	{scenario: scenario{name: "a rule that drops some, at random", film: cutByRule(ruling{from: 10, to: 50, rule: counting(byPort), counts: 9}, film{ships: one(phase{}, phase{at: 10, loss: 0.5})}), verdict: NotStalled}, warns: "not known to have met"},
	{scenario: scenario{name: "a rule while nothing waits", film: cutByRule(ruling{from: 10, to: 20, rule: counting(byPort), counts: 1}, film{ships: one(phase{}, phase{at: 8, rate: -1})}), verdict: NotStalled}, warns: "it counted 1 packet"},
	{scenario: scenario{name: "a firewall loaded anew", film: cutByRule(ruling{from: 10, rule: but(counting(byPort), func(r *middlebox.Rule) { r.Ports = nil }), counts: 9, before: true}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen}},
	{scenario: scenario{name: "a rule of before, loaded anew", film: cutByRule(ruling{from: 10, rule: counting(byPort), counts: 9, before: true}, film{ships: from10(dead)}), stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"packet filter before"}}},

	{scenario: scenario{name: "a stall, and nobody watched for rules", film: film{path: unwatched, ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen}, warns: "whether packet filter rules cut the path is not known"},
	{scenario: scenario{name: "no pause, and nobody watched for rules", film: film{path: unwatched, ships: one(phase{})}, verdict: NotStalled}, unwarned: "packet filter"},
	{scenario: scenario{name: "nothing to ship, and nobody watched for rules", film: film{path: unwatched, ships: one(phase{}, phase{at: 10, rate: -1}, phase{at: 40, rate: 10})}, verdict: NotStalled}, unwarned: "packet filter"},
	{scenario: scenario{name: "a pause, and nobody watched for rules", film: film{path: unwatched, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 22})}, verdict: NotStalled, steps: true}, warns: "whether packet filter rules cut the path is not known"},

	{scenario: scenario{name: "forgotten by the router", film: film{far: true, forget: []int{9, 100}, ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"forgotten by the path"}}, window: []int{9}, known: byTrack},
	{scenario: scenario{name: "forgotten by the router, as its kernel told", film: film{far: true, forget: []int{9, 100}, path: lets(9), ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"forgotten by the path"}}, window: []int{9}, known: byTrack},
	{scenario: scenario{name: "forgotten, and an older reading told later", film: film{far: true, forget: []int{9, 100}, path: letsAndHeld(9), ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"forgotten by the path"}}, window: []int{9}, known: byTrack, unsaid: "made another entry"},
	{scenario: scenario{name: "forgotten by the router while idle", film: film{far: true, forget: []int{9, 100}, ships: one(phase{}, phase{at: 5, rate: -1})}, verdict: NotStalled, findings: []string{"forgotten by the path"}}},
	{scenario: scenario{name: "forgotten and known again", film: film{far: true, forget: []int{9, 12}, ships: one(phase{})}, verdict: NotStalled}, never: "forgotten by the path"},
	{scenario: scenario{name: "forgotten with its end", film: film{far: true, ships: one(phase{}, phase{at: 20, fresh: true}, phase{at: 40, fresh: true})}, verdict: NotStalled}, never: "forgotten by the path"},

	{scenario: scenario{name: "a link that went down", film: film{path: linkDown(10, 25), ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"link"}}},
	{scenario: scenario{name: "a queue that drops", film: film{path: queueDrops(10), ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"link drops"}}},
}

func init() {
	for _, p := range pathScenarios {
		scenarios = append(scenarios, p.scenario)
	}
}

// lets is the kernel's notice that it let go of the first connection's entry.
func lets(at int) func(*shoot) {
	return func(m *shoot) {
		if m.second == at {
			e, _ := entryOf(m.crews[0].at[0])
			m.add(timeline.Body{Track: &timeline.Track{At: "router", Event: middlebox.Event{Kind: middlebox.Destroy, Entry: &e}}})
		}
	}
}

// letsAndHeld is that, and then a record of a reading of two seconds before.
func letsAndHeld(at int) func(*shoot) {
	return func(m *shoot) {
		lets(at)(m)
		if m.second == at+1 {
			e, _ := entryOf(m.crews[0].at[0])
			m.add(timeline.Body{Conntrack: &timeline.Conntrack{At: "router", Readings: 20, Entries: []middlebox.Entry{e}}})
			m.rec.Records[len(m.rec.Records)-1].Took = 2 * time.Second
		}
	}
}

// unwatched is the recorder's remark that it may not watch the packet filter.
func unwatched(m *shoot) {
	if m.second == 0 {
		m.add(timeline.Body{Mark: &timeline.Mark{Text: "packet filter of filebeat is not watched", Unwatched: true}})
	}
}

func linkDown(from, to int) func(*shoot) {
	return func(m *shoot) {
		if state := map[int]string{0: "up", from: "down", to: "up"}[m.second]; state != "" {
			m.add(timeline.Body{Link: &timeline.Link{At: "filebeat", Link: middlebox.Link{Name: "eth0", Index: 2, State: state, Toward: []netip.Addr{receiver.Addr()}}}})
		}
	}
}

// Two elements that match the connection have the counter of their rule.
func TestElementsCountOnce(t *testing.T) {
	other := but(inSet, func(r *middlebox.Rule) { r.Set, r.Text = "clients", "ip daddr in @clients, with 10.51.0.2 in @clients" })
	v := Judge(cutByRules(film{seconds: 70, ships: from10(dead)}, ruling{from: 10, to: 20, rule: inSet, counts: 9}, ruling{from: 11, to: 21, rule: other, counts: 9}).roll(), Defaults())
	if w := v.Window; w == nil || w.Packets == nil || *w.Packets != 9 || *w.Bytes != 9*60 || len(w.Rules) != 2 {
		t.Errorf("window %+v", w)
	}
}

func queueDrops(from int) func(*shoot) {
	return func(m *shoot) {
		m.add(timeline.Body{Link: &timeline.Link{At: "filebeat", Link: middlebox.Link{Name: "eth0", Index: 2, State: "up", RxDropped: new(uint64), Queues: []middlebox.Queue{{Kind: "netem", Handle: "8001:0", Drops: uint32(max(0, m.second-from))}}}}})
	}
}

// The window is where the path's witnesses say, and nowhere else.
func TestPathWindows(t *testing.T) {
	for _, p := range pathScenarios {
		t.Run(p.name, func(t *testing.T) {
			v := Judge(p.film.roll(), Defaults())
			warned := slices.ContainsFunc(v.Warnings, func(w string) bool { return p.warns != "" && strings.Contains(w, p.warns) })
			if warned != (p.warns != "") {
				t.Errorf("warnings %q, want one with %q", v.Warnings, p.warns)
			}
			if slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Rule == p.never }) {
				t.Errorf("findings %+v, want none of %q", v.Findings, p.never)
			}
			if slices.ContainsFunc(v.Warnings, func(w string) bool { return p.unwarned != "" && strings.Contains(w, p.unwarned) }) {
				t.Errorf("warnings %q, want none with %q", v.Warnings, p.unwarned)
			}
			if !slices.ContainsFunc(v.Findings, func(f Finding) bool { return strings.Contains(f.Text, p.says) }) && p.says != "" {
				t.Errorf("findings %+v, want one that says %q", v.Findings, p.says)
			}
			if slices.ContainsFunc(v.Findings, func(f Finding) bool { return p.unsaid != "" && strings.Contains(f.Text, p.unsaid) }) {
				t.Errorf("findings %+v, want none that says %q", v.Findings, p.unsaid)
			}
			w := v.Window
			if p.window == nil {
				if w != nil && (w.Known == byRules || w.Known == byTrack) {
					t.Errorf("window %+v, want none", w)
				}
				return
			}
			if w == nil || w.Known != p.known {
				t.Fatalf("window %+v, want one by %s; %s", w, p.known, v.Summary)
			}
			near := func(got time.Time, second int) bool {
				return got.Sub(filmBegan.Add(time.Duration(second)*time.Second)).Abs() < 300*time.Millisecond
			}
			if !near(w.Start, p.window[0]) || (w.End == nil) != (len(p.window) == 1) || w.End != nil && !near(*w.End, p.window[1]) {
				t.Errorf("window from %s to %v, want %v s after %s", w.Start, w.End, p.window, filmBegan)
			}
		})
	}
}
