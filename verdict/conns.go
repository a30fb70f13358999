package verdict

import (
	"fmt"
	"time"

	"halfopen/sockstate"
)

// pick is the connection that was ESTABLISHED at a time, and how many were; of
// several, the one that had delivered most.
func (j *judge) pick(at time.Duration) (best *conn, of int) {
	var most uint64
	for _, c := range j.conns {
		s, ok := c.seenAt(at)
		if !ok || s.sock.State != sockstate.Established {
			continue
		}
		of++
		var sent uint64
		if s.sock.Info != nil {
			sent, _ = s.sock.Info.BytesAcked.Get()
		}
		if best == nil || sent > most {
			best, most = c, sent
		}
	}
	return best, of
}

// judged notes the connection that the verdict is on.
func (j *judge) judged() {
	if j.conn == nil {
		return
	}
	f := j.conn.flow
	j.v.Connection = &f
	if far, _, ok := j.mapped(j.conn); ok {
		j.v.Receiver = &far
	}
}

// established are the connections that are ESTABLISHED at the end.
func (j *judge) established() (list []*conn) {
	for _, c := range j.conns {
		if c.gone == 0 && c.lastSeen().sock.State == sockstate.Established && c.lastSeen().at >= j.series.last() {
			list = append(list, c)
		}
	}
	return list
}

// dead reports whether the kernel alone proves that a connection has stalled, and
// since when: for long enough, or more often than chance has it, nothing that was
// sent was acknowledged, or could be sent.
func (j *judge) dead(c *conn) (class Class, why string, since time.Duration, ok bool) {
	last := c.lastSeen()
	if c.gone != 0 || last.sock.State != sockstate.Established || last.sock.SendQ == 0 {
		return "", "", 0, false
	}
	class, why, _ = j.classify(c, 0)
	switch class {
	case HalfOpen, LocalDrop:
		timer := last.sock.Timer
		since, _ = c.since(func(k sockstate.Socket) bool {
			return k.Timer == timer && k.SendQ > 0 && (k.Retransmits > 0 || timer == sockstate.TimerProbe)
		})
		if last.sock.Info != nil {
			since = last.at - j.silent(last.sock)
		}
	case ZeroWindow:
		since, _ = c.since(func(k sockstate.Socket) bool { return k.Timer == sockstate.TimerProbe && k.SendQ > 0 })
	default:
		return "", "", 0, false
	}
	_, early := j.th.outage(last.sock)
	return class, why, since, early || last.at-since >= j.th.StallAfter
}

// deadOne is the connection that has been dead for longest.
func (j *judge) deadOne() (worst *conn, since time.Duration) {
	for _, c := range j.established() {
		if _, _, from, ok := j.dead(c); ok && (worst == nil || from < since) {
			worst, since = c, from
		}
	}
	return worst, since
}

// unacknowledged is the connection on which the same has been sent in vain for longest,
// by its timer: whatever other ACKs came.
func (j *judge) unacknowledged() (worst *conn, age time.Duration) {
	for _, c := range j.established() {
		if d, ok := sockstate.Unanswered(c.lastSeen().sock, j.tuned()); ok && c.lastSeen().sock.SendQ > 0 && d > age {
			worst, age = c, d
		}
	}
	return worst, age
}

// tried counts the connections that the shipper began since a time, and those of
// them that lasted.
func (j *judge) tried(since time.Duration) (begun int, records []uint64) {
	for _, c := range j.conns {
		if first := c.seen[0]; first.since > since {
			begun++
			records = append(records, first.n)
		}
	}
	return begun, records
}

// crowd tells how the shipper's connections fare, where there are several.
func (j *judge) crowd() {
	list := j.established()
	if len(list) < 2 {
		return
	}
	dead := 0
	var records []uint64
	for _, c := range list {
		if _, _, _, ok := j.dead(c); ok {
			dead++
			records = append(records, c.lastSeen().n)
		}
	}
	if dead > 0 {
		j.find("connections", fmt.Sprintf("of %d connections, %d stalled; what was sent on such a one is not acknowledged until it ends", len(list), dead), records...)
	}
}
