package verdict

import (
	"fmt"
	"strings"
	"time"

	"halfopen/sockstate"
	"halfopen/timeline"
)

// pick chooses the connection to judge: the one that was ESTABLISHED when the
// path was cut, without a cut the one that is at the end; of several, the one
// that had delivered most.
func (j *judge) pick() {
	at := j.last.Mono
	if j.cut != nil {
		at = j.cut.start
	}
	var shippers []string
	for _, p := range j.header.Places {
		if p.Role == timeline.Shipper {
			shippers = append(shippers, p.Name)
		}
	}
	if len(shippers) > 1 {
		j.v.Warnings = append(j.v.Warnings, fmt.Sprintf("%d shippers were recorded (%s); the first is judged", len(shippers), strings.Join(shippers, ", ")))
	}
	var most uint64
	var others int
	for _, c := range j.conns {
		s, ok := c.seenAt(at)
		if !ok || s.sock.State != sockstate.Established {
			continue
		}
		others++
		var sent uint64
		if s.sock.Info != nil {
			sent, _ = s.sock.Info.BytesAcked.Get()
		}
		if j.conn == nil || sent > most {
			j.conn, most = c, sent
		}
	}
	if j.conn == nil {
		return
	}
	f := j.conn.flow
	j.v.Connection = &f
	if far, _, ok := j.mapped(f); ok {
		j.v.Receiver = &far
	}
	if others > 1 {
		j.v.Warnings = append(j.v.Warnings, fmt.Sprintf("%d connections were ESTABLISHED; the one that had delivered most is judged", others))
	}
}

// judgeStall: the gates are open and acks did not move again. Each criterion has
// its evidence; all must hold.
func (j *judge) judgeStall() {
	j.v.Criteria = []Finding{j.stayedEstablished(), j.acksStood(), j.workPending(), j.nobodyHealed()}
	last := j.conn.lastSeen()
	class, why := classify(last)
	open, _, _ := j.pathOpen()
	j.v.Stall = &Stall{LastRead: j.wall(j.cut.start), For: j.last.Mono - j.cut.start, AfterPath: j.last.Mono - open}
	if read, ok := last.lastRead(); ok {
		j.v.Stall.LastRead, j.v.Stall.For = j.wall(read), j.last.Mono-read
	}
	for _, c := range j.v.Criteria {
		if c.Holds == nil || !*c.Holds {
			j.conclude(Inconclusive, "acks stand still, but "+c.Text)
			return
		}
	}
	j.v.Class = class
	j.find("class", fmt.Sprintf("%s: %s", class, why), last.n)
	j.bothSides()
	j.staleDrops()
	j.forecast(last)
	j.conclude(Reproduced, fmt.Sprintf("reproduced: the connection stayed ESTABLISHED and %s, stalled for %s after the path came back",
		class, round(j.v.Stall.AfterPath)))
}

func (j *judge) stayedEstablished() Finding {
	first, _ := j.conn.seenAt(j.cut.start)
	last := j.conn.lastSeen()
	for _, s := range j.conn.seen {
		if s.since > j.cut.start && s.sock.State != sockstate.Established {
			return holds("established", false, fmt.Sprintf("the connection left ESTABLISHED for %s at %s", s.sock.State, j.clock(s.since)), first.n, s.n)
		}
	}
	if j.conn.gone != 0 {
		return holds("established", false, fmt.Sprintf("the connection was gone at %s", j.clock(j.conn.gone)), last.n, j.conn.goneN)
	}
	return holds("established", true, fmt.Sprintf("%s stayed ESTABLISHED from the cut to the end, same socket (inode %d)", j.conn.flow, last.sock.Inode), first.n, last.n)
}

func (j *judge) acksStood() Finding {
	before, n1, _ := j.lastBefore(j.cut.start+j.th.Settle, acked)
	after, n2, _ := j.lastBefore(j.last.Mono, acked)
	if last := j.acks[len(j.acks)-1]; j.last.Mono-last.at > j.th.Fresh {
		return holds("acks", false, fmt.Sprintf("the shipper's counters were last read %s before the end", round(j.last.Mono-last.at)), last.n)
	}
	if gap, n := j.longestGap(); gap > j.th.Fresh {
		return holds("acks", false, fmt.Sprintf("the shipper's counters were not read for %s: whether it could act at all is not known", round(gap)), n...)
	}
	if before != after {
		return holds("acks", false, fmt.Sprintf("acked went from %d to %d while the counters were not read", before, after), n1, n2)
	}
	return holds("acks", true, fmt.Sprintf("acked stood at %d", after), n1, n2)
}

// longestGap is the longest time since the cut without a reading of the
// shipper's counters. A shipper that is frozen answers nothing.
func (j *judge) longestGap() (gap time.Duration, records []uint64) {
	for i := 1; i < len(j.acks); i++ {
		if d := j.acks[i].at - j.acks[i-1].at; j.acks[i].at > j.cut.start && d > gap {
			gap, records = d, []uint64{j.acks[i-1].n, j.acks[i].n}
		}
	}
	return gap, records
}

func (j *judge) workPending() Finding {
	before, n1, ok1 := j.lastBefore(j.cut.start, pending)
	after, n2, ok2 := j.lastBefore(j.last.Mono, pending)
	limit, _, limited := j.lastBefore(j.last.Mono, capacity)
	switch {
	case !ok1 || !ok2:
		return Finding{Rule: "pending", Text: "the shipper's counters do not tell how much work is pending", Records: []uint64{j.acks[len(j.acks)-1].n}}
	case limited && after >= limit:
		return holds("pending", true, fmt.Sprintf("the queue is full: %d of %d events wait", after, limit), n1, n2)
	}
	return holds("pending", after > before, fmt.Sprintf("waiting events went from %d to %d", before, after), n1, n2)
}

func (j *judge) nobodyHealed() Finding {
	if why, n, ok := j.restart(j.cut.start, j.last.Mono); ok {
		return holds("no recovery", false, "the shipper was restarted: "+why, n)
	}
	for _, p := range j.parties {
		if p.body.Change == timeline.Exited && p.at > j.cut.start {
			return holds("no recovery", false, fmt.Sprintf("%s exited at %s%s", p.body.Name, j.clock(p.at), how(p.body.How)), p.n)
		}
	}
	for _, c := range j.conns {
		if c != j.conn && c.seen[0].since > j.cut.start {
			return holds("no recovery", false, fmt.Sprintf("the shipper opened another connection, %s, at %s", c.flow, j.clock(c.seen[0].since)), c.seen[0].n)
		}
	}
	for _, e := range j.events {
		if _, tells := tellers[e.body.Pattern]; tells && e.at > j.cut.start {
			return holds("no recovery", false, fmt.Sprintf("the shipper's log told of an error at %s: %s", j.clock(e.at), e.body.Means), e.n)
		}
	}
	return holds("no recovery", true, "no reconnect, no error and no restart was seen until the end", j.cut.startN, j.last.N)
}

// bothSides compares the shipper's socket with the receiver's of the same
// connection.
func (j *judge) bothSides() {
	far, mapN, ok := j.mapped(j.conn.flow)
	if !ok {
		return
	}
	records := []uint64{j.conn.lastSeen().n}
	if mapN != 0 {
		records = append(records, mapN)
	}
	for _, c := range j.far {
		if c.flow != far {
			continue
		}
		last := c.lastSeen()
		if c.gone != 0 {
			j.find("two-sided proof", fmt.Sprintf("the receiver has no socket of this connection any more (%s, gone since %s), the shipper's is ESTABLISHED", far, j.clock(c.gone)), append(records, c.goneN)...)
			return
		}
		read, ok := last.lastRead()
		if !ok {
			return
		}
		j.find("receiver's side", fmt.Sprintf("the receiver's socket of this connection (%s) is %s and last received data %s before the end", far, last.sock.State, round(j.last.Mono-read)), append(records, last.n)...)
		return
	}
}

func (j *judge) staleDrops() {
	if j.cut.stale > 0 {
		j.find("forgotten flow", fmt.Sprintf("after the cut the path dropped %s more, because they belonged to a flow it no longer knew, while new connections passed", count(j.cut.stale, "packet")), j.cut.endN, j.cut.staleN)
	}
}

// farAway is beyond any time that is worth a forecast, and within what a
// time.Duration can hold.
const farAway = 50 * 365 * 24 * time.Hour

// forecast lists what could still end the stall.
func (j *judge) forecast(last sighting) {
	for _, s := range j.settings {
		if s.body.Timeout == nil {
			continue
		}
		if j.v.Class == ReceiverBlocked {
			j.v.Ends = append(j.v.Ends, End{By: ByTimeout, Text: fmt.Sprintf("the shipper's own timeout (%s): never while the receiver keeps sending", *s.body.Timeout)})
			continue
		}
		if read, ok := last.lastRead(); ok && *s.body.Timeout < farAway {
			at := j.wall(read + *s.body.Timeout)
			j.v.Ends = append(j.v.Ends, End{By: ByTimeout, Earliest: &at, Latest: &at,
				Text: fmt.Sprintf("the shipper's own timeout (%s) at %s", *s.body.Timeout, j.clock(read+*s.body.Timeout))})
		}
	}
	if j.v.Class == SilentPeer || j.v.Class == ReceiverBlocked {
		j.v.Ends = append(j.v.Ends, End{By: ByKernel, Text: "the kernel: never, since the peer's kernel answers"})
		return
	}
	if sys := j.sysctls(); sys != nil {
		if f, ok := sockstate.GiveUp(last.sock, *sys); ok {
			early, late := j.wall(last.at+f.Earliest), j.wall(last.at+f.Latest)
			j.v.Ends = append(j.v.Ends, End{By: ByKernel, Earliest: &early, Latest: &late,
				Text: fmt.Sprintf("the kernel's give-up between %s and %s: %s", j.clock(last.at+f.Earliest), j.clock(last.at+f.Latest), f.Why)})
		}
	}
}

// judgeOpenPath: no cut. Either acks move, or they stand still.
func (j *judge) judgeOpenPath() {
	list := j.progresses()
	last := j.acks[len(j.acks)-1]
	if age := j.last.Mono - last.at; age > j.th.Fresh {
		j.conclude(Inconclusive, fmt.Sprintf("the shipper's counters were last read %s before the end%s", round(age), j.partyGone(j.last.Mono)))
		j.find("acks", j.v.Summary, last.n, j.last.N)
		return
	}
	if len(list) > 0 {
		p := list[len(list)-1]
		if age := last.at - p.to; age <= j.th.Fresh {
			j.conclude(NotStalled, "not stalled, no cut: acks moved until the end")
			j.find("acks", fmt.Sprintf("acks moved %s; the last time %s before the last reading", count(len(list), "time"), round(age)), p.fromN, p.toN, last.n)
			return
		}
	}
	since := j.acks[0].at
	if len(list) > 0 {
		since = list[len(list)-1].to
	}
	stood := last.at - since
	waiting, n, ok := j.lastBefore(j.last.Mono, pending)
	switch {
	case ok && waiting == 0:
		j.conclude(NotStalled, "not stalled, no cut: nothing waits to be delivered")
		j.find("pending", fmt.Sprintf("no event waits; acks last moved %s before the last reading", round(stood)), n)
	case ok && stood >= j.th.StallAfter && j.conn != nil:
		class, why := classify(j.conn.lastSeen())
		j.v.Class = class
		j.find("class", fmt.Sprintf("%s: %s", class, why), j.conn.lastSeen().n)
		j.forecast(j.conn.lastSeen())
		j.conclude(Stalled, fmt.Sprintf("stalled: connected, %s waiting, and no ack for %s; class %s", count(waiting, "event"), round(stood), class))
	case ok && stood >= j.th.StallAfter:
		j.v.Class = NotConnected
		j.conclude(Inconclusive, fmt.Sprintf("not connected, %s waiting, and no ack for %s: not a stalled connection, but none", count(waiting, "event"), round(stood)))
		j.find("class", "the shipper has no ESTABLISHED connection to the watched ports", j.last.N, n)
	default:
		j.conclude(Inconclusive, fmt.Sprintf("acks stood still for the last %s: too short, or too little is known, to call it a stall", round(stood)))
		j.find("acks", j.v.Summary, last.n)
	}
}

// warn lists what the reader of the verdict must know about the recording.
func (j *judge) warn(rec *timeline.Recording) {
	add := func(format string, args ...any) { j.v.Warnings = append(j.v.Warnings, fmt.Sprintf(format, args...)) }
	for _, d := range rec.Damage {
		add("the recording is damaged: %s", d)
	}
	if rec.More > 0 {
		add("the recording is damaged in %s more", count(rec.More, "line"))
	}
	for _, h := range rec.Holes {
		add("%s missing after number %d", count(h.Missing, "record"), h.After)
	}
	unknown := map[string]bool{}
	for _, k := range rec.Records {
		switch {
		case k.Gap != nil:
			add("record %d: %s lost %d: %s", k.N, k.Gap.Source, k.Gap.Lost, k.Gap.Why)
		case k.Clock != nil:
			add("record %d: the wall clock stepped by %s", k.N, k.Clock.Step)
		case k.Unknown != nil && !unknown[k.Unknown.Kind]:
			unknown[k.Unknown.Kind] = true
			add("records of the unknown kind %q were left out: a newer halfopen knows them", k.Unknown.Kind)
		}
	}
	switch {
	case j.end == nil:
		add("the recording has no end: the recorder was killed, or the file was cut; the last record is of %s", j.clock(j.last.Mono))
	case j.end.Reason != "done":
		why := j.end.Reason
		if j.end.Error != "" {
			why += ": " + j.end.Error
		}
		add("the recording was ended early: %s", why)
	}
	j.warnFailures(add)
}

// warnFailures gives a line a source: how often it could not be read, and why at
// first.
func (j *judge) warnFailures(add func(format string, args ...any)) {
	times := map[string]int{}
	for _, f := range j.failures {
		times[f.body.Source]++
	}
	for _, f := range j.failures {
		if n := times[f.body.Source]; n > 0 {
			add("%s: %s failed, first in record %d: %s", f.body.Source, count(n, "reading"), f.n, f.body.Error)
			times[f.body.Source] = 0
		}
	}
}
