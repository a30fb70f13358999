package verdict

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"halfopen/middlebox"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// standing is the time for which a dropping rule stood that came while the packet
// filter was watched.
type standing struct {
	rule       middlebox.Rule
	at         string // place
	by         string // who made it, where the kernel told
	came, went reading[*timeline.Rule]
	first      uint64 // packets that its counter had when it came
	firstBytes uint64
	part       bool // another one's words stand for it, too
	more       int  // for how many others its words stand
}

// reload is how far apart the end of a rule and the same rule again may be for a
// firewall that loads its rules anew: the path was then shut all the time, unless
// acks say otherwise. Each copy counts from zero.
const reload = time.Second

// standings are the rules that came meanwhile and may drop packets of the shipper's
// connections, oldest first.
func (r *run) standings() (list []*standing) {
	addrs := r.addresses()
	for i, k := range r.rules {
		c := k.body.Change
		if c.Rule == nil {
			continue
		}
		stand := func() bool { return slices.ContainsFunc(list, stands(*k.body)) }
		switch {
		case c.Kind == middlebox.New && (c.Rule.Element == "" || !stand()) || c.Kind == middlebox.Update && !stand():
			if r.mayCut(k.body, addrs) && !r.reloaded(i) {
				s := &standing{rule: *c.Rule, at: k.body.At, by: maker(c), came: k}
				// A rule that was found by comparing is taken to have begun at zero, as rules do that are not
				// restored with counters; an element has the counter of its rule, which may be old.
				if c.Kind == middlebox.Update || c.Within == 0 || c.Rule.Element != "" {
					s.first, s.firstBytes = value(c.Rule.Packets), value(c.Rule.Bytes)
				}
				list = append(list, s)
			}
		case c.Kind == middlebox.Counted, c.Kind == middlebox.Destroy, c.Kind == middlebox.Update && (!c.Rule.Drops || c.Rule.Loose):
			for _, s := range list {
				if !stands(*k.body)(s) {
					continue
				}
				if c.Rule.Packets != nil {
					s.rule.Packets, s.rule.Bytes = c.Rule.Packets, c.Rule.Bytes
				}
				if c.Kind != middlebox.Counted {
					s.went = k
				}
				if c.Rule.Handle == 0 { // one of several that are the same
					break
				}
			}
		}
	}
	joinPolicies(list)
	return list
}

// mayCut reports whether a rule may drop packets between the shipper's addresses, and
// by itself: of one that matches by elements alone each of those is told.
func (r *run) mayCut(k *timeline.Rule, addrs []netip.Addr) bool {
	rule := *k.Change.Rule
	return rule.Concerns(r.header.Ports) && !rule.Each && rule.Meets(addrs) && r.onWay(k)
}

// onWay reports whether a packet of the shipper's connections may get to a rule: a
// hook leads there, the interface exists, and where the connections begin they are
// not forwarded, and what comes in is from the watched port.
func (r *run) onWay(k *timeline.Rule) bool {
	rule := *k.Change.Rule
	if rule.Loose || rule.Absent != "" {
		return false
	}
	if len(rule.Hooks) == 0 || !k.Of(r.shipper) {
		return true
	}
	both := slices.ContainsFunc(r.conns, func(c *conn) bool {
		return c.flow.Local.Addr() == c.flow.Remote.Addr() || c.flow.Remote.Addr().IsLoopback()
	})
	return slices.ContainsFunc(rule.Hooks, func(hook string) bool {
		switch hook {
		case "forward":
			return false
		case "prerouting", "input", "ingress":
			return both || rule.Side != "dport"
		}
		return both || rule.Side != "sport"
	})
}

// stands finds the rule of a change among those that stand. One without an element
// is that of all its elements.
func stands(k timeline.Rule) func(*standing) bool {
	rule := *k.Change.Rule
	policy := func(r middlebox.Rule) bool { return strings.HasPrefix(r.Text, "policy ") }
	return func(s *standing) bool {
		switch {
		case s.went.n != 0 || s.at != k.At || s.rule.Family != rule.Family || s.rule.Table != rule.Table || s.rule.Handle != rule.Handle:
			return false
		case rule.Handle != 0:
			return rule.Element == "" || s.rule.Set == rule.Set && s.rule.Element == rule.Element
		}
		return s.rule.Chain == rule.Chain && (s.rule.Text == rule.Text || policy(s.rule) && policy(rule))
	}
}

func same(a, b middlebox.Rule) bool {
	return a.Family == b.Family && a.Table == b.Table && a.Chain == b.Chain && a.Text == b.Text
}

// reloaded reports whether a rule that came is one that stood when the recording
// began, and was taken away within the same second.
func (r *run) reloaded(i int) bool {
	k := r.rules[i]
	before := func(x reading[*timeline.Rule]) bool {
		return x.body.At == k.body.At && x.body.Change.Rule != nil && same(*x.body.Change.Rule, *k.body.Change.Rule)
	}
	return slices.ContainsFunc(r.rules, func(x reading[*timeline.Rule]) bool { return x.body.Change.Kind == middlebox.Present && before(x) }) &&
		slices.ContainsFunc(r.rules, func(x reading[*timeline.Rule]) bool {
			return x.body.Change.Kind == middlebox.Destroy && (x.at-k.at).Abs() <= reload && before(x)
		})
}

// addresses are those of the shipper's connections, before and behind translation.
func (r *run) addresses() (list []netip.Addr) {
	seen := map[netip.Addr]bool{}
	add := func(ends ...netip.AddrPort) {
		for _, e := range ends {
			if a := e.Addr(); !seen[a] {
				seen[a] = true
				list = append(list, a)
			}
		}
	}
	for _, c := range r.conns {
		add(c.flow.Local, c.flow.Remote)
		if far, _, ok := r.mapped(c); ok {
			add(far.Local, far.Remote)
		}
	}
	return list
}

func maker(c middlebox.RuleChange) string {
	if c.By == "" {
		return ""
	}
	return fmt.Sprintf(" by %s[%d]", c.By, c.PID)
}

func value(n *uint64) uint64 {
	if n == nil {
		return 0
	}
	return *n
}

// packets that it dropped, false where it does not count.
func (s *standing) packets() (n uint64, ok bool) {
	return value(s.rule.Packets) - min(s.first, value(s.rule.Packets)), s.rule.Packets != nil
}

// countedWith reports whether another one counts the same packets: several elements of
// a rule have its counter.
func (s *standing) countedWith(made []*standing) bool {
	return slices.ContainsFunc(made, func(old *standing) bool {
		return s.rule.Element != "" && old.at == s.at && old.rule.Family == s.rule.Family && old.rule.Table == s.rule.Table && old.rule.Handle == s.rule.Handle && old.went.at > s.came.at
	})
}

func (s *standing) String() string {
	text := fmt.Sprintf("%s, %s %s %s%s: %s", s.at, s.rule.Family, s.rule.Table, s.rule.Chain, s.by, s.rule.Text)
	if s.more > 0 {
		text += fmt.Sprintf(", as in %s", count(s.more, "more chain"))
	}
	return text
}

// met reports whether the rule is known to drop what the shipper sends or is sent: a
// connection lost packets while it stood, nothing was acknowledged meanwhile, and its
// counter, where it has one, does not say otherwise.
func (s *standing) met(r *run) bool {
	if n, counts := s.packets(); counts && n == 0 || s.rule.Vague {
		return false
	}
	from, to := s.came.at, r.last.Mono
	if s.went.n != 0 {
		to = s.went.from
	}
	return !r.progressed(from, to) && r.lost(from, to)
}

// lost reports whether a connection lost packets between two times.
func (r *run) lost(from, to time.Duration) bool {
	return slices.ContainsFunc(r.conns, func(c *conn) bool {
		return slices.ContainsFunc(c.seen, func(k sighting) bool { return k.at >= from && k.since <= to && losing(k.sock) })
	})
}

// progressed reports whether acks moved while the path was shut, and not because
// they had been under way.
func (r *run) progressed(from, to time.Duration) bool {
	return slices.ContainsFunc(r.progresses(), func(p progress) bool { return p.from >= from+Defaults().Settle && p.to < to })
}

// losing reports whether a socket shows that a packet of it got no answer, or could
// not be sent at all.
func losing(k sockstate.Socket) bool {
	switch {
	case k.Timer == sockstate.TimerRetransmit:
		return k.Retransmits > 0
	case k.Timer == sockstate.TimerProbe && k.Info != nil:
		wnd, ok := k.Info.SndWnd.Get()
		return ok && wnd > 0 && k.SendQ > 0
	}
	return false
}
