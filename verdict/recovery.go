package verdict

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"halfopen/beatstats"
	"halfopen/sockstate"
)

// Who ends a stall.
const (
	ByTimeout    = "application timeout"
	ByKernel     = "kernel timeout"
	ByKeepalive  = "keepalive"
	ByReset      = "RST"
	ByFIN        = "FIN"
	ByDestroy    = "destroyed socket" // SOCK_DESTROY on the shipper's own host
	ByRestart    = "restart"
	ByResume     = "retransmission" // the old connection itself carried on
	ByReceiver   = "receiver"       // it had kept the shipper waiting, and acknowledged again
	ByUnknownEnd = "unknown"
)

// recovered concludes "recovered" if acks moved again after the cut began, and
// "inconclusive" if they never stopped.
func (j *judge) recovered() bool {
	again, ok := j.acksAgain()
	if !ok {
		return false
	}
	if again.to < j.cut.end {
		j.conclude(Inconclusive, fmt.Sprintf("acks moved at %s, while the path was cut: the cut missed the connection that delivers, or dropped only some of its packets", j.clock(again.to)))
		j.find("acks", j.v.Summary, again.fromN, again.toN)
		return true
	}
	if j.stalledAgain(again) {
		return true
	}
	stood := again.to - j.lastAck()
	r := &Recovery{AcksAgain: j.wall(again.to), Stood: stood}
	j.v.Recovery = r
	j.find("acks", fmt.Sprintf("acks moved again at %s, after they had stood still for %s", j.clock(again.to), round(stood)), again.fromN, again.toN)
	old := j.oldEnd(again.to)
	r.By = old.by
	switch {
	case old.by == ByReceiver:
		j.conclude(Recovered, fmt.Sprintf("recovered: the receiver acknowledged again on the same connection; acks stood still for %s", round(stood)))
	case old.by == ByResume:
		j.conclude(Recovered, fmt.Sprintf("recovered: the old connection carried on when a retransmission got through; acks stood still for %s", round(stood)))
	case old.closedAfter > 0:
		r.ClosedAfter = &old.closedAfter
		j.conclude(Recovered, fmt.Sprintf("recovered by %s, %s after the last data read; acks moved again %s later",
			old.long(), round(old.closedAfter), round(again.to-old.at)))
	default:
		j.conclude(Recovered, fmt.Sprintf("recovered by %s; acks stood still for %s", old.long(), round(stood)))
	}
	j.find("end of the old connection", old.text, old.records...)
	j.v.Stall = &Stall{LastRead: j.wall(old.lastRead), For: again.to - old.lastRead}
	return true
}

// stalledAgain judges a run whose acks moved once more after the cut, and have
// stood still since.
func (j *judge) stalledAgain(again progress) bool {
	list := j.progresses()
	last := list[len(list)-1]
	waiting, _, told := j.lastBefore(j.last.Mono, pending)
	if !told || waiting == 0 || j.acks[len(j.acks)-1].at-last.to < j.th.StallAfter {
		return false
	}
	j.find("acks", fmt.Sprintf("acks moved again at %s, and have stood still since %s", j.clock(again.to), j.clock(last.to)), again.toN, last.toN)
	j.conn, _ = j.pick(j.last.Mono)
	j.judgeUncut()
	return true
}

// acksAgain is the first progress that can't have been under way when the path
// was cut.
func (j *judge) acksAgain() (progress, bool) {
	for _, p := range j.progresses() {
		if p.from >= j.cut.start+j.th.Settle {
			return p, true
		}
	}
	return progress{}, false
}

// lastAck is the last progress before the stall.
func (j *judge) lastAck() (at time.Duration) {
	at = j.cut.start
	for _, p := range j.progresses() {
		if p.from < j.cut.start+j.th.Settle {
			at = p.to
		}
	}
	return at
}

// connEnd is how the judged connection ended.
type connEnd struct {
	by          string
	at          time.Duration
	lastRead    time.Duration
	closedAfter time.Duration // 0: not known
	text        string
	records     []uint64
}

func (e connEnd) long() string {
	switch e.by {
	case ByTimeout:
		return "the shipper's own timeout"
	case ByKernel:
		return "the kernel's give-up (retransmissions)"
	case ByKeepalive:
		return "the kernel's give-up (keepalive)"
	case ByReset:
		return "a RST"
	case ByFIN:
		return "the receiver's FIN"
	case ByDestroy:
		return "the destruction of its socket on the shipper's host"
	case ByRestart:
		return "a restart of the shipper"
	}
	return "a new connection (the end of the old one is not explained)"
}

// oldEnd tells how the judged connection ended before t, from how it left
// ESTABLISHED and from what the shipper said then.
func (j *judge) oldEnd(t time.Duration) connEnd {
	e := connEnd{by: ByResume, at: t, lastRead: j.cut.start, text: "the connection stayed ESTABLISHED"}
	last := j.conn.seen[0]
	for _, s := range j.conn.seen {
		if s.since > t {
			break
		}
		if s.since <= j.cut.start {
			last = s // SYN_SENT at first, where the path is long
			continue
		}
		if s.sock.State != sockstate.Established {
			e.at, e.by = s.since, ""
			e.text = fmt.Sprintf("the connection went from ESTABLISHED to %s at %s", s.sock.State, j.clock(s.since))
			if s.sock.Orphan() {
				e.text += ", closed by the shipper (no process holds it)"
			}
			e.records = []uint64{last.n, s.n}
			e.explain(j, last, s.sock.State)
			break
		}
		last = s
	}
	if e.by == ByResume && j.conn.gone != 0 && j.conn.gone <= t {
		e.at = j.conn.gone
		e.text = fmt.Sprintf("the connection was gone at %s", j.clock(j.conn.gone))
		e.records = []uint64{last.n, j.conn.goneN}
		e.explain(j, last, sockstate.Close)
	}
	if e.by == ByResume {
		for _, s := range j.conn.seen {
			if s.since > t { // the counters may be read before the socket is
				last = s
				break
			}
		}
		e.resumed(j, last)
		return e
	}
	if read, ok := last.lastRead(); ok {
		e.lastRead, e.closedAfter = read, e.at-read
	}
	if why, n, ok := j.restart(j.cut.start, t); ok {
		e.by = ByRestart
		e.text += "; the shipper restarted: " + why
		e.records = append(e.records, n)
	}
	return e
}

// resumed tells whether a connection that stayed ESTABLISHED is the one that acks
// moved on: data came back on it after the cut.
func (e *connEnd) resumed(j *judge, last sighting) {
	stuck, _ := j.conn.seenAt(j.cut.end)
	e.records = []uint64{stuck.n, last.n}
	if read, ok := stuck.lastRead(); ok {
		e.lastRead = read
	}
	if stuck.sock.Retransmits == 0 && stuck.sock.SendQ == 0 || shut(stuck.sock) {
		e.by = ByReceiver
	}
	read, ok := last.lastRead()
	if ok && read < j.cut.end || !ok && last.sock.Retransmits >= stuck.sock.Retransmits && stuck.sock.Retransmits > 0 {
		e.by = ByUnknownEnd
		e.text += ", but no data came back on it: acks moved on another connection"
	}
}

// shut reports whether a connection waits for its peer's window, which is zero.
func shut(k sockstate.Socket) bool {
	return k.Timer == sockstate.TimerProbe && k.Info != nil && k.Info.SndWnd == sockstate.Some(uint32(0))
}

// tellers are the patterns of a shipper's log that tell who ended a connection
// (Event.Pattern).
var tellers = map[string]string{
	"filebeat-io-timeout":     ByTimeout,
	"filebeat-kernel-timeout": ByKernel,
	"filebeat-reset":          ByReset,
	"filebeat-eof":            ByFIN,
	"filebeat-aborted":        ByDestroy,
}

// Tellers lists the patterns of a shipper's log that the judge listens to.
func Tellers() []string { return slices.Sorted(maps.Keys(tellers)) }

// explain says who ended the connection, which was last ESTABLISHED in that
// sighting and is now in the given state (CLOSE: gone).
func (e *connEnd) explain(j *judge, last sighting, now sockstate.State) {
	said, means, n := j.said(e.at)
	if n != 0 {
		e.text += "; the shipper's log: " + means
		e.records = append(e.records, n)
	}
	switch {
	case now == sockstate.CloseWait || now == sockstate.LastAck:
		e.by = ByFIN
	case said == ByKernel && last.sock.Timer == sockstate.TimerKeepalive:
		e.by = ByKeepalive
	case said != "":
		e.by = said
	case j.timedOut(e.at, last):
		e.by = ByTimeout
	default:
		e.by = ByUnknownEnd
	}
	if grew, n := j.errorsGrew(e.at); grew {
		e.text += "; its counters of read or write errors grew"
		e.records = append(e.records, n...)
	}
}

// said is what the first telling line of the shipper's log around the end of its
// connection says.
func (j *judge) said(t time.Duration) (by, means string, record uint64) {
	const around = 2 * time.Second
	for _, e := range j.events {
		by, tells := tellers[e.body.Pattern]
		if tells && (e.at-t).Abs() <= around {
			return by, e.body.Means, e.n
		}
	}
	return "", "", 0
}

// timedOut reports whether the connection ended when the shipper's timeout said
// that it would: the time runs from when the shipper began to wait for the next
// ACK, which is up to a flush interval (1 s) after the last data read.
func (j *judge) timedOut(t time.Duration, last sighting) bool {
	const early, late = 500 * time.Millisecond, 2 * time.Second
	read, ok := last.lastRead()
	if !ok {
		return false
	}
	for _, s := range j.settings {
		if s.body.Timeout == nil {
			continue
		}
		if off := t - read - *s.body.Timeout; off >= -early && off <= late {
			return true
		}
	}
	return false
}

func (j *judge) errorsGrew(t time.Duration) (bool, []uint64) {
	const around = 3 * time.Second
	for _, value := range []func(beatstats.Sample) *beatstats.Value{
		func(s beatstats.Sample) *beatstats.Value { return s.ReadErrors },
		func(s beatstats.Sample) *beatstats.Value { return s.WriteErrors },
	} {
		before, n1, ok1 := j.lastBefore(t-around, value)
		after, n2, ok2 := j.lastBefore(t+around, value)
		if ok1 && ok2 && after > before {
			return true, []uint64{n1, n2}
		}
	}
	return false, nil
}
