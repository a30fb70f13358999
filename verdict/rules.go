package verdict

import (
	"fmt"
	"slices"
	"strings"

	"halfopen/fault"
	"halfopen/middlebox"
)

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
		} else {
			text += "; it does not count, so it may have dropped packets of the connection"
		}
		switch {
		case met:
			if !counts && (j.cut == nil || j.cut.known == byRules) {
				j.v.Confidence = Low
			}
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
	j.unruled()
}

// unruled says of a stall or a pause without a known cut that nobody watched for one.
func (j *judge) unruled() {
	if w := j.v.Window; len(j.unwatched) == 0 || w != nil && w.Known != byAcks {
		return
	}
	_, lost := j.losses(j.first.Mono, j.last.Mono)
	if j.v.Verdict == NotStalled && (!lost || longest(j.progresses()) <= j.th.Fresh) {
		return
	}
	for _, m := range j.unwatched {
		j.warnf("whether packet filter rules cut the path is not known: %s", m.body.Text)
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
		if c.Kind == middlebox.Present && c.Rule != nil && c.Rule.Concerns(j.header.Ports) && len(c.Rule.Ports) > 0 && c.Rule.Meets(j.addresses()) && j.onWay(k.body) {
			texts = append(texts, (&standing{rule: *c.Rule, at: k.body.At}).String())
			records = append(records, k.n)
		}
	}
	if len(texts) > 0 {
		j.find("packet filter before", fmt.Sprintf("%s that may drop packets of the watched ports stood when the recording began: %s", count(len(texts), "rule"), strings.Join(texts, "; ")), records...)
	}
}
