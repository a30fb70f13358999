package verdict

import (
	"fmt"
	"slices"
	"strings"

	"halfopen/fault"
	"halfopen/middlebox"
	"halfopen/timeline"
)

// ruledCut is the window that packet filter rules made which somebody added and
// removed: from the first one that met the connections to the end of those that
// stood with it, or came in its place. Of several, between which acks moved, it is the
// longest, or one after which they never did.
func (r *run) ruledCut() (best *cut) {
	var c *cut
	var made []*standing
	keep := func() {
		if c != nil && (best == nil || c.end-c.start > best.end-best.start || !r.progressed(c.end, r.last.Mono)) {
			best = c
		}
	}
	for _, s := range r.ruling {
		if r.announced(s) {
			continue // a proxy's: of a fault that cuts there are marks, or records
		}
		if s.went.n == 0 {
			if slices.ContainsFunc(made, s.follows) && !r.progressed(c.start, r.last.Mono) {
				return nil // it has not ended
			}
			continue
		}
		again := slices.ContainsFunc(made, s.follows) && !r.progressed(c.start, s.went.from)
		met := s.met(r)
		if met && !again && c != nil && s.came.from > c.end && r.progressed(c.end, s.came.from) {
			keep()
			c, made = nil, nil
		}
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
		if c.counted = c.counted && counts; !s.countedWith(made) {
			c.packets, c.bytes = c.packets+n, c.bytes+value(s.rule.Bytes)-min(s.firstBytes, value(s.rule.Bytes))
		}
		c.dropsN = s.went.n
		if !again && !s.part {
			c.rules = append(c.rules, s.String())
		}
		made = append(made, s)
	}
	if keep(); best != nil {
		best.startWall, best.endWall = r.wall(best.start), r.wall(best.end)
	}
	return best
}

// follows reports whether it is another one again, of the same place.
func (s *standing) follows(old *standing) bool {
	return old != s && old.at == s.at && same(old.rule, s.rule) && old.went.n != 0 && old.came.at <= s.came.at && s.came.from-old.went.at <= reload
}

// ruled tells of the rules that made the window, and of others that may drop packets
// of the watched ports.
func (j *judge) ruled() {
	unmet, met := 0, 0
	var more []uint64 // records of those that met it, beyond maxTold
	for _, s := range j.ruling {
		if s.part || j.announced(s) {
			continue // which the fault's own records or marks tell, or another's words
		}
		meets := s.met(j.run)
		text, records := j.life(s)
		n, counts := s.packets()
		switch {
		case meets && met >= maxTold:
			more = append(more, records...)
			met++
		case meets:
			met++
			if !counts && (j.cut == nil || j.cut.known == byRules) {
				j.v.Confidence = Low
			}
			j.find("packet filter", text, records...)
			if j.v.Window == nil && j.v.Verdict == Stalled {
				j.v.Window = &Window{Start: j.wall(s.came.at), StartWithin: s.came.at - s.came.from, Known: byRules, Rules: []string{s.String()}}
			}
		case slices.ContainsFunc(j.ruling, func(old *standing) bool { return s.follows(old) && old.met(j.run) }): // told with it
		case s.rule.Vague && j.v.Verdict == NotStalled: // which sets of other things have all the time
		case (j.cut == nil || j.cut.known != byFault) && (n > 0 || len(s.rule.Ports) > 0 || s.rule.Element != ""):
			if s.rule.Vague {
				text += "; whether the element matches what the connection sends can't be told"
			}
			if unmet++; unmet <= maxTold {
				j.warnf("a rule that may drop packets of the watched ports is not known to have met the connection: %s", text)
			}
		}
	}
	if met > maxTold {
		j.find("packet filter", fmt.Sprintf("%s of that kind met the connection", count(met-maxTold, "more rule")), more...)
	}
	if unmet > maxTold {
		j.warnf("%s of that kind came or went", count(unmet-maxTold, "more rule"))
	}
	j.ruledBefore()
	j.unruled()
}

// life tells how long a rule stood, and what it counted.
func (j *judge) life(s *standing) (text string, records []uint64) {
	text = fmt.Sprintf("%s; added at %s%s", s, j.clock(s.came.at), within(s.came.at-s.came.from))
	records = []uint64{s.came.n}
	if s.went.n != 0 {
		text += fmt.Sprintf(", gone at %s%s", j.clock(s.went.at), within(s.went.at-s.went.from))
		records = append(records, s.went.n)
	} else {
		text += ", still there at the end"
	}
	switch n, counts := s.packets(); { // its counter is told when it goes, and once before
	case !counts:
		text += "; it does not count, so it may have dropped packets of the connection"
	case s.went.n != 0:
		text += "; it counted " + count(n, "packet")
	case n > 0:
		text += "; it counted at least " + count(n, "packet")
	default:
		text += "; it is not known to have counted any packet"
	}
	return text, records
}

// ours reports whether a rule is of a fault of halfopen's.
func ours(r middlebox.Rule) bool { return strings.HasPrefix(r.Table, fault.Tables) }

// announced reports whether a rule is of a fault of halfopen's that has told of itself:
// the lab's records do, or marks that name its table.
func (r *run) announced(s *standing) bool {
	return ours(s.rule) && (len(r.faults) > 0 || slices.ContainsFunc(r.marks, func(m reading[*timeline.Mark]) bool {
		return m.body.Table == s.rule.Family+" "+s.rule.Table
	}))
}

// unruled says of a stall or a pause without a known cut that nobody watched for one.
func (j *judge) unruled() {
	if w := j.v.Window; len(j.unwatched) == 0 || w != nil && w.Known != byAcks {
		return
	}
	lost := j.lost(j.first.Mono, j.last.Mono)
	if j.v.Verdict == NotStalled && (!lost || longest(j.progresses()) <= j.th.Fresh) {
		return
	}
	for _, m := range j.unwatched {
		j.warnf("whether packet filter rules cut the path is not known: %s", m.body.Text)
	}
}

// maxTold is how many rules that met the connection, and how many that did not, are told
// one by one.
const maxTold = 5

// ruledBefore tells of the dropping rules that name a watched port, or have an address of
// the connections in their set, and stood when the recording began, or in snapshots: they are no
// start of anything.
func (j *judge) ruledBefore() {
	type stood struct {
		*standing
		last  reading[*timeline.Rule]
		times int
	}
	var order []string
	by := map[string]*stood{}
	addrs := j.addresses()
	for _, k := range j.rules {
		c := k.body.Change
		if c.Kind != middlebox.Present || c.Rule == nil || !names(*c.Rule) || !j.mayCut(k.body, addrs) {
			continue
		}
		s := &standing{rule: *c.Rule, at: k.body.At, came: k, first: value(c.Rule.Packets)}
		text := s.String()
		if by[text] == nil {
			order, by[text] = append(order, text), &stood{standing: s}
		}
		by[text].last = k
		by[text].times++
	}
	if len(order) == 0 {
		return
	}
	texts, records := slices.Clone(order), []uint64{}
	for i, text := range order {
		s := by[text]
		if records = append(records, s.came.n); j.series.any() {
			s.rule = *s.last.body.Change.Rule
			texts[i] += fmt.Sprintf(" (in %s, %s to %s", count(s.times, "snapshot"), j.clock(s.came.at), j.clock(s.last.at))
			if n, counts := s.packets(); counts && s.times > 1 {
				texts[i] += fmt.Sprintf(", it counted %s meanwhile", count(n, "packet"))
			}
			texts[i], records = texts[i]+")", append(records, s.last.n)
		}
	}
	when := "stood when the recording began"
	if j.series.any() {
		when = "stood in the snapshots"
	}
	j.find("packet filter before", fmt.Sprintf("%s that may drop packets of the watched ports %s: %s", count(len(texts), "rule"), when, strings.Join(texts, "; ")), records...)
}

// names reports whether a rule asks for ports, or is about addresses in its set: every
// firewall has others.
func names(r middlebox.Rule) bool { return len(r.Ports) > 0 || r.Element != "" && len(r.Addrs) > 0 }
