package verdict

import (
	"fmt"
	"time"

	"halfopen/sockstate"
	"halfopen/timeline"
)

// judgeStall: the gates are open and acks did not move again. Each criterion has
// its evidence; all must hold.
func (j *judge) judgeStall() {
	j.v.Criteria = []Finding{j.stayedEstablished(), j.acksStood(), j.workPending(), j.nobodyHealed()}
	last := j.conn.lastSeen()
	class, why, more := j.classify(j.conn, j.cut.start)
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
	j.find("class", fmt.Sprintf("%s: %s", class, why), append([]uint64{last.n}, more...)...)
	j.known(j.conn)
	j.bothSides()
	j.staleDrops()
	j.forecast(last)
	j.conclude(Reproduced, fmt.Sprintf("reproduced: the connection stayed ESTABLISHED and stalled for %s after the path came back; class %s",
		round(j.v.Stall.AfterPath), class))
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
	after, n2, _ := j.lastBefore(j.last.Mono, acked)
	before, n1 := j.comparable(j.cut.start + j.th.Settle)
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
		if p.body.Change == timeline.Exited && p.at > j.cut.start && !p.body.ByUs { // else it is the experiment
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
