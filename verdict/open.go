package verdict

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"halfopen/sockstate"
	"halfopen/timeline"
)

// judgeUncut: no cut is known. Either acks move, or nothing waits, or work waits
// and acks stand still.
func (j *judge) judgeUncut() {
	if why, records, ok := j.unreadable(); !ok {
		j.judgeSockets(why, records)
		return
	}
	list := j.progresses()
	last := j.acks[len(j.acks)-1]
	since := j.acks[0].at
	if len(list) > 0 {
		since = list[len(list)-1].to
	}
	waiting, n, told := j.lastBefore(j.last.Mono, pending)
	if told && waiting > 0 {
		since = j.waitsSince(since, last.at)
	}
	stood := last.at - since
	recent := stood <= j.th.Fresh
	if j.series.any() {
		since = j.stands(len(j.acks) - 1)
		stood, recent = last.at-since, since == last.at
	}
	cause, causeN, caused := j.settingsCause()
	if !j.neverAcked() {
		if acked, record, _ := j.lastBefore(j.last.Mono, acked); acked > 0 {
			j.gate(holds("baseline", true, fmt.Sprintf("events were delivered: acked reached %d", acked), j.acks[0].n, record))
		}
	}
	if c, from := j.deadOne(); c != nil && (stood < j.th.StallAfter || told && waiting == 0) {
		j.oneDead(c, from, stood)
		return
	}
	switch {
	case len(list) > 0 && recent && j.pastStall(list):
	case len(list) > 0 && recent && last.at-list[len(list)-1].to <= j.th.Fresh:
		p := list[len(list)-1]
		j.conclude(NotStalled, "not stalled, no cut: acks moved until the end")
		j.find("acks", fmt.Sprintf("acks moved %s; the last time %s before the last reading", count(len(list), "time"), round(stood)), p.fromN, p.toN, last.n)
	case told && waiting > 0 && recent && !j.neverAcked():
		what := count(waiting, "event") + " waiting"
		if c, age := j.unacknowledged(); age >= j.th.Fresh {
			j.conclude(Inconclusive, fmt.Sprintf("%s, and %s sent in vain for %s at least: not long enough to call it a stall", what, count(c.lastSeen().sock.SendQ, "byte"), round(age)))
			j.find("unacknowledged", fmt.Sprintf("%s sends the same again%s", c.flow, ages(c.lastSeen().sock)), c.lastSeen().n, n)
			return
		}
		j.conclude(NotStalled, "not stalled, no cut: nothing waited until just now")
		if stood > 0 { // one reading can't tell
			what += ", for " + round(stood)
		}
		j.find("pending", what, n)
	case told && waiting == 0:
		j.conclude(NotStalled, "not stalled, no cut: nothing waits to be delivered")
		j.find("pending", fmt.Sprintf("no event waits; acks last moved %s before the last reading", round(stood)), n)
		j.idle(since)
	case caused && j.neverAcked():
		j.gate(holds("baseline", false, neverDelivered+j.partyGone(j.last.Mono)+"; "+cause, j.acks[0].n, last.n, causeN))
	case told && stood >= j.th.StallAfter:
		j.stood(since, stood, waiting, n)
	case j.inSteps(list, stood):
		p := list[len(list)-1]
		j.conclude(NotStalled, "not stalled, no cut: acks move in steps")
		j.find("acks", fmt.Sprintf("acks moved %s, up to %s apart; the last time %s before the last reading", count(len(list), "time"), round(longest(list)), round(stood)), p.fromN, p.toN, last.n)
	default:
		j.conclude(Inconclusive, fmt.Sprintf("acks stood still for the last %s: too short, or too little is known, to call it a stall", round(stood)))
		j.find("acks", j.v.Summary, last.n)
	}
}

// unreadable says why the shipper's counters can't tell whether it delivers.
func (j *judge) unreadable() (why string, records []uint64, ok bool) {
	if len(j.acks) == 0 {
		return "the shipper's counters were never read: whether anything was delivered is not known" + j.whyUnread() + j.partyGone(j.last.Mono), []uint64{j.first.N}, false
	}
	first, last := j.acks[0], j.acks[len(j.acks)-1]
	if _, _, ok := j.lastBefore(j.last.Mono, acked); !ok {
		return "the shipper's counters say nothing of acknowledged events", []uint64{first.n, last.n}, false
	}
	if age := j.last.Mono - last.at; age > j.th.Fresh || last.at < j.series.last() {
		return fmt.Sprintf("the shipper's counters were last read %s before the end%s", round(age), j.partyGone(j.last.Mono)), []uint64{last.n, j.last.N}, false
	}
	return "", nil, true
}

// judgeSockets: the counters do not tell. What the kernel alone proves, it proves
// all the same: bytes that nobody acknowledges are work that waits.
func (j *judge) judgeSockets(why string, records []uint64) {
	c, since := j.deadOne()
	if c == nil {
		j.gate(holds("baseline", false, why, records...))
		return
	}
	j.conn = c
	j.find("counters", why, records...)
	j.v.Confidence = Low
	class, _, _, _ := j.dead(c)
	j.stalled(c, since, fmt.Sprintf("stalled: connected, %s unacknowledged for %s by the kernel's reckoning; class %s",
		count(c.lastSeen().sock.SendQ, "byte"), round(c.lastSeen().at-since), class))
}

// oneDead: acks move, or stood still only for a while, or the counters say that
// nothing waits, and yet a connection is dead.
func (j *judge) oneDead(c *conn, since, stood time.Duration) {
	j.conn = c
	class, _, _, _ := j.dead(c)
	last := c.lastSeen()
	n, age, unacked := len(j.established()), last.at-since, count(last.sock.SendQ, "byte")+" unacknowledged"
	soon := age < j.th.StallAfter
	if soon {
		j.v.Confidence = Low
		j.find("young", young(age), last.n)
	}
	told := ""
	waiting, _, _ := j.lastBefore(j.last.Mono, pending)
	if waiting > 0 {
		told = count(waiting, "event") + " waiting, "
	}
	switch {
	case n > 1 && stood <= j.th.Fresh:
		j.stalled(c, since, fmt.Sprintf("stalled: 1 of %d connections, %s on it for %s, while acks move on others; class %s", n, unacked, round(age), class))
		return
	case soon || waiting > 0 && (stood > j.th.Fresh || j.series.any()):
		j.stalled(c, since, fmt.Sprintf("stalled: connected, %s%s for %s; class %s", told, unacked, round(age), class))
		return
	}
	j.v.Confidence = Low
	what := "acks move"
	if stood > j.th.Fresh {
		what = "nothing waits"
	}
	j.find("signals disagree", fmt.Sprintf("the shipper's counters say that %s, and the kernel that the only connection has %s unacknowledged", what, count(last.sock.SendQ, "byte")),
		last.n, j.acks[len(j.acks)-1].n)
	j.stalled(c, since, fmt.Sprintf("stalled by the kernel's reckoning: %s for %s; class %s", unacked, round(age), class))
}

// stalled concludes a stall without a cut, with the evidence for its class.
func (j *judge) stalled(c *conn, since time.Duration, summary string) {
	class, why, records := j.classify(c, since)
	j.v.Class = class
	j.find("class", fmt.Sprintf("%s: %s", class, why), append([]uint64{c.lastSeen().n}, records...)...)
	j.v.Stall = &Stall{LastRead: j.wall(since), For: j.last.Mono - since}
	if read, ok := c.lastSeen().lastRead(); ok {
		j.v.Stall.LastRead = j.wall(read)
	}
	j.known(c)
	j.bothSides()
	j.crowd()
	j.forecast(c.lastSeen())
	j.conclude(Stalled, summary)
}

// stood: work waits and no ack came for long enough.
func (j *judge) stood(since, stood time.Duration, waiting int64, n uint64) {
	waits := count(waiting, "event") + " waiting"
	if j.looked.near.n == 0 || j.looked.near.at < j.series.last() {
		j.conclude(Inconclusive, fmt.Sprintf("%s, and no ack for %s, but the shipper's sockets were never read: whether it is connected is not known", waits, round(stood)))
		j.find("acks", j.v.Summary, n)
		return
	}
	if begun, records := j.tried(j.last.Mono - j.th.StallAfter); begun >= j.th.Storm && !j.series.any() {
		j.v.Class = NotConnected
		j.conclude(Inconclusive, fmt.Sprintf("never connected for long: %s, and no ack for %s, while the shipper began %s in the last %s", waits, round(stood), count(begun, "connection"), j.th.StallAfter))
		j.find("class", "connections do not last: the receiver, the path or the shipper's own timeout ends them", append(records, n)...)
		return
	}
	if c, _ := j.deadOne(); c != nil {
		j.conn = c
	}
	if j.conn == nil {
		j.conn = j.closeWait()
	}
	if j.conn == nil {
		j.v.Class = NotConnected
		j.conclude(Inconclusive, fmt.Sprintf("not connected, %s, and no ack for %s: there is no connection that could have stalled", waits, round(stood)))
		j.find("class", "the shipper has no ESTABLISHED connection to the watched ports"+j.attempt(), j.last.N, n)
		return
	}
	if j.series.any() && !j.seenTwice(j.conn) {
		j.v.Class = NotConnected
		j.conclude(Inconclusive, fmt.Sprintf("not the same connection as in the snapshot before: %s, and no ack for %s", waits, round(stood)))
		j.find("class", "the shipper has begun a connection since the snapshot before; the next snapshot shows whether it lasts", j.conn.seen[0].n, n)
		return
	}
	class, _, _ := j.classify(j.conn, since)
	j.stalled(j.conn, since, fmt.Sprintf("stalled: connected, %s, and no ack for %s; class %s", waits, round(stood), class))
}

// closeWait is a connection that the receiver has closed and the shipper has not.
func (j *judge) closeWait() *conn {
	for _, c := range j.conns {
		if s := c.lastSeen(); c.gone == 0 && s.sock.State == sockstate.CloseWait && s.sock.Inode != 0 {
			return c
		}
	}
	return nil
}

// attempt tells of a connection under way.
func (j *judge) attempt() string {
	for _, c := range j.conns {
		if s := c.lastSeen(); c.gone == 0 && s.sock.State == sockstate.SynSent {
			return fmt.Sprintf("; a SYN to %s was sent again %s without an answer", c.flow.Remote, count(s.sock.Retransmits, "time"))
		}
	}
	return ""
}

// idle: nothing waits. A connection that no longer answers probes stalls with the
// next event.
func (j *judge) idle(since time.Duration) {
	for _, c := range j.established() {
		if class, why, _ := j.classify(c, since); class == IdleHalfOpen {
			j.conn, j.v.Class = c, class
			j.find("class", fmt.Sprintf("%s: %s; the next event will stall", class, why), c.lastSeen().n)
			j.bothSides()
			j.forecast(c.lastSeen())
			return
		}
	}
}

// inSteps reports whether acks have always come so far apart: by batches, or from
// a slow receiver.
func (j *judge) inSteps(list []progress, stood time.Duration) bool {
	return len(list) > 2 && stood <= longest(list)
}

func longest(list []progress) (gap time.Duration) {
	for i := 1; i < len(list); i++ {
		gap = max(gap, list[i].to-list[i-1].to)
	}
	return gap
}

// neverAcked reports whether the acked counter was 0 all the time, and had been
// before.
func (j *judge) neverAcked() bool {
	return !j.partial() && !slices.ContainsFunc(j.acks, func(a reading[*timeline.Stats]) bool { v := a.body.Sample.Acked; return v.OK() && v.N > 0 })
}

// whyUnread is the last reason why the shipper's counters could not be read.
func (j *judge) whyUnread() string {
	for i := len(j.failures) - 1; i >= 0; i-- {
		if name, ok := strings.CutPrefix(j.failures[i].body.Source, "stats of "); ok && j.own[name] {
			return ": " + j.failures[i].body.Error
		}
	}
	return ""
}
