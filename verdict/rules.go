package verdict

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"halfopen/fault"
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
	first      uint64 // what it had counted when it came
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
		switch {
		case c.Kind == middlebox.New && c.Rule.Concerns(r.header.Ports) && c.Rule.Meets(addrs),
			c.Kind == middlebox.Update && c.Rule.Drops && !slices.ContainsFunc(list, stands(*k.body)):
			if !r.reloaded(i) {
				list = append(list, &standing{rule: *c.Rule, at: k.body.At, by: maker(c), came: k, first: value(c.Rule.Packets)})
			}
		case c.Kind == middlebox.Counted, c.Kind == middlebox.Destroy, c.Kind == middlebox.Update && !c.Rule.Drops:
			if at := slices.IndexFunc(list, stands(*k.body)); at >= 0 {
				if c.Rule.Packets != nil {
					list[at].rule.Packets, list[at].rule.Bytes = c.Rule.Packets, c.Rule.Bytes
				}
				if c.Kind != middlebox.Counted {
					list[at].went = k
				}
			}
		}
	}
	return list
}

// stands finds the rule of a change among those that stand.
func stands(k timeline.Rule) func(*standing) bool {
	rule := *k.Change.Rule
	return func(s *standing) bool {
		if s.went.n != 0 || s.at != k.At || s.rule.Family != rule.Family || s.rule.Table != rule.Table || s.rule.Handle != rule.Handle {
			return false
		}
		return rule.Handle != 0 || s.rule.Chain == rule.Chain && (k.Change.Kind == middlebox.Update || s.rule.Text == rule.Text)
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

func (s *standing) String() string {
	return fmt.Sprintf("%s, %s %s %s%s: %s", s.at, s.rule.Family, s.rule.Table, s.rule.Chain, s.by, s.rule.Text)
}

// met reports whether the rule is known to drop what the shipper sends or is sent: a
// connection lost packets while it stood, nothing was acknowledged meanwhile, and its
// counter, where it has one, does not say otherwise.
func (s *standing) met(r *run) (records []uint64, ok bool) {
	if n, counts := s.packets(); counts && n == 0 {
		return nil, false
	}
	from, to := s.came.at, r.last.Mono
	if s.went.n != 0 {
		to = s.went.from
	}
	if r.progressed(from, to) {
		return nil, false
	}
	for _, c := range r.conns {
		for _, k := range c.seen {
			if k.at >= from && k.since <= to && losing(k.sock) {
				return []uint64{k.n}, true
			}
		}
	}
	return nil, false
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

// ruledCut is the window that packet filter rules made which somebody added and
// removed: from the first one that met the connections to the end of those that
// stood with it, or came in its place.
func (r *run) ruledCut() (c *cut) {
	var made []*standing
	for _, s := range r.standings() {
		if s.went.n == 0 {
			if slices.ContainsFunc(made, s.follows) && !r.progressed(c.start, r.last.Mono) {
				return nil // it has not ended
			}
			continue
		}
		again := slices.ContainsFunc(made, s.follows) && !r.progressed(c.start, s.went.from)
		_, met := s.met(r)
		if !again && (!met || c != nil && s.came.from > c.end) {
			continue
		}
		if c == nil {
			c = &cut{known: byRules, startN: s.came.n, start: s.came.at, startWithin: s.came.at - s.came.from, counted: true}
		}
		if s.went.from > c.end {
			c.endN, c.end, c.endWithin = s.went.n, s.went.from, s.went.at-s.went.from
		}
		n, counts := s.packets()
		c.counted = c.counted && counts
		c.packets, c.bytes, c.dropsN = c.packets+n, c.bytes+value(s.rule.Bytes), s.went.n
		if !again {
			c.rules = append(c.rules, s.String())
		}
		made = append(made, s)
	}
	if c != nil {
		c.startWall, c.endWall = r.wall(c.start), r.wall(c.end)
	}
	return c
}

// follows reports whether it is another one again, of the same place.
func (s *standing) follows(old *standing) bool {
	return old != s && old.at == s.at && same(old.rule, s.rule) && old.went.n != 0 && old.came.at <= s.came.at && s.came.from-old.went.at <= reload
}

// ruled tells of the rules that made the window, and of others that may drop packets
// of the watched ports.
func (j *judge) ruled() {
	unmet, list := 0, j.standings()
	for _, s := range list {
		if len(j.faults) > 0 && strings.HasPrefix(s.rule.Table, fault.Tables) {
			continue // which the fault's own records tell
		}
		_, met := s.met(j.run)
		text := fmt.Sprintf("%s; added at %s%s", s, j.clock(s.came.at), within(s.came.at-s.came.from))
		records := []uint64{s.came.n}
		if s.went.n != 0 {
			text += fmt.Sprintf(", gone at %s%s", j.clock(s.went.at), within(s.went.at-s.went.from))
			records = append(records, s.went.n)
		} else {
			text += ", still there at the end"
		}
		n, counts := s.packets()
		if counts {
			text += "; it counted "
			if s.went.n == 0 {
				text += "at least " // its counter is told when it goes, and once before
			}
			text += count(n, "packet")
		}
		switch {
		case met:
			j.find("packet filter", text, records...)
			if j.v.Window == nil && j.v.Verdict == Stalled {
				j.v.Window = &Window{Start: j.wall(s.came.at), StartWithin: s.came.at - s.came.from, Known: byRules, Rules: []string{s.String()}}
			}
		case slices.ContainsFunc(list, func(old *standing) bool { _, met := old.met(j.run); return met && s.follows(old) }): // told with it
		case (j.cut == nil || j.cut.known != byFault) && (n > 0 || len(s.rule.Ports) > 0):
			if unmet++; unmet <= maxUnmet {
				j.warnf("a rule that may drop packets of the watched ports is not known to have met the connection: %s", text)
			}
		}
	}
	if unmet > maxUnmet {
		j.warnf("%s more of that kind came or went", count(unmet-maxUnmet, "rule"))
	}
	j.ruledBefore()
	if w, list := j.v.Window, j.progresses(); (w == nil || w.Known == byAcks) && (j.v.Verdict != NotStalled || longest(list) > j.th.Fresh) {
		for _, m := range j.unwatched {
			j.warnf("acks paused, and whether packet filter rules cut the path is not known: %s", m.body.Text)
		}
	}
}

// maxUnmet is how many rules that met nothing are told one by one.
const maxUnmet = 5

// ruledBefore tells of the dropping rules that name a watched port and stood when
// the recording began: they are no start of anything.
func (j *judge) ruledBefore() {
	var texts []string
	var records []uint64
	for _, k := range j.rules {
		c := k.body.Change
		if c.Kind == middlebox.Present && c.Rule != nil && c.Rule.Concerns(j.header.Ports) && len(c.Rule.Ports) > 0 && c.Rule.Meets(j.addresses()) {
			texts = append(texts, (&standing{rule: *c.Rule, at: k.body.At}).String())
			records = append(records, k.n)
		}
	}
	if len(texts) > 0 {
		j.find("packet filter before", fmt.Sprintf("%s that may drop packets of the watched ports stood when the recording began: %s", count(len(texts), "rule"), strings.Join(texts, "; ")), records...)
	}
}
