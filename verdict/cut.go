package verdict

import (
	"fmt"
	"strings"
	"time"

	"halfopen/fault"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// How a window is known.
const (
	byFault = "the fault's own record"
	byMarks = "marks"
	byRules = "packet filter rules that came and went"
	byTrack = "conntrack: the entry of the flow was gone"
	byAcks  = "inferred from the acks: the last before they stood still, and the first after"
)

// cut is the time during which the path was shut.
type cut struct {
	known        string // byFault, byMarks, byRules or byAcks
	step         string // of the fault: the first
	startN, endN uint64
	start        time.Duration // the rule was surely in place
	end          time.Duration // until here it surely was; 0: the recording ends before it
	startWithin  time.Duration // how much earlier it may have begun
	endWithin    time.Duration // how much later it may have ended
	rules        []string      // that made it, by byRules
	undone       bool          // it ended by being taken back: the flow was never forgotten
	startWall    time.Time
	endWall      time.Time
	// packets and bytes that the dropping rules counted, and the record that
	// says so; counted is false where the counters were never read.
	packets, bytes uint64
	counted        bool
	dropsN         uint64
	// stale is what was dropped afterwards because it belonged to no known flow.
	stale  uint64
	staleN uint64
}

func (r *run) findCut() *cut {
	var c *cut
	for _, f := range r.faults {
		step := f.body.Step
		switch {
		case c == nil && step.Name != fault.StepUndo:
			c = &cut{known: byFault, step: step.Name, startN: f.n, start: step.Mono + step.Took, startWall: step.End.UTC()}
		case c != nil && c.endN == 0:
			c.endN, c.end, c.endWall = f.n, step.Mono, step.Start.UTC()
			c.undone = step.Name == fault.StepUndo
		}
	}
	if c != nil {
		r.countDrops(c)
		return c
	}
	if c = r.markedCut(); c != nil {
		return c
	}
	return r.ruledCut()
}

// markedCut is the window that the experimenter's marks tell of: from the first
// start to the end that follows it.
func (r *run) markedCut() (c *cut) {
	for _, m := range r.marks {
		at := m.at
		if m.body.CalledMono != 0 {
			at = m.body.CalledMono
		}
		switch {
		case m.body.Drop == timeline.DropStart && c == nil:
			c = &cut{known: byMarks, startN: m.n, start: at, startWall: r.wall(at)}
		case m.body.Drop == timeline.DropEnd && c != nil && c.endN == 0:
			c.endN, c.end, c.endWall = m.n, at, r.wall(at)
		}
	}
	if c != nil && c.endN == 0 {
		r.endWithRules(c)
	}
	return c
}

// endWithRules ends a cut whose end nobody told with the rules of our own that made
// it: a killed drop sends no mark, and the kernel removes its table.
func (r *run) endWithRules(c *cut) {
	var last *standing
	for _, s := range r.ruling {
		switch {
		case !ours(s.rule):
		case s.went.n == 0:
			return
		case s.went.from > c.start && (last == nil || s.went.from > last.went.from):
			last = s
		}
	}
	if last != nil {
		c.endN, c.end, c.endWithin = last.went.n, last.went.from, last.went.at-last.went.from
		c.endWall = r.wall(c.end)
	}
}

// countDrops takes the counters' last readings: they only grow.
func (r *run) countDrops(c *cut) {
	for _, d := range r.drops {
		var packets, bytes, stale uint64
		for _, k := range d.body.Counters {
			if k.Step == c.step {
				packets += k.Packets
				bytes += k.Bytes
			} else {
				stale += k.Packets
			}
		}
		if packets > c.packets || !c.counted {
			c.packets, c.bytes, c.counted, c.dropsN = packets, bytes, true, d.n
		}
		if stale > c.stale {
			c.stale, c.staleN = stale, d.n
		}
	}
}

func (j *judge) window() *Window {
	c := j.cut
	if c == nil {
		return nil
	}
	w := &Window{Start: c.startWall, Known: c.known, StartWithin: c.startWithin, EndWithin: c.endWithin, Rules: c.rules}
	if c.endN != 0 {
		w.End = &c.endWall
	}
	if c.counted {
		w.Packets, w.Bytes = &c.packets, &c.bytes
	}
	return w
}

// windowGate: a cut that ended, and that really dropped something.
func (j *judge) windowGate() bool {
	c := j.cut
	switch {
	case c.endN == 0:
		return j.gate(holds("window", false, "the recording ends while the path was cut", c.startN))
	case c.undone:
		return j.gate(holds("window", false, "the run was stopped while the path was cut: nothing was seen of the time after", c.startN, c.endN))
	case c.known == byMarks:
		return j.gate(holds("window", true, fmt.Sprintf("marks say that the path was cut for %s; what was dropped was not counted", round(c.end-c.start)), c.startN, c.endN))
	case c.known == byRules:
		was := "was"
		if !c.counted {
			was = "may have been" // which only a counter tells
		}
		text := fmt.Sprintf("the path %s cut for %s by %s", was, round(c.end-c.start), strings.Join(c.rules, ", and by "))
		if c.counted {
			text += fmt.Sprintf("; at the last look %s (%d bytes) had been dropped", count(c.packets, "packet"), c.bytes)
		}
		return j.gate(holds("window", true, text, c.startN, c.endN))
	case !c.counted:
		return j.gate(holds("window", false, "the counters of the dropping rules were never read: whether the cut dropped anything is not known", c.startN))
	case c.packets == 0:
		return j.gate(holds("window", false, "the cut dropped not one packet: it missed the connection", c.startN, c.dropsN, c.endN))
	}
	return j.gate(holds("window", true, fmt.Sprintf("the path was cut for %s and dropped %s (%d bytes), the canary's among them",
		round(c.end-c.start), count(c.packets, "packet"), c.bytes), c.startN, c.dropsN, c.endN))
}

// met: data of the judged connection met the cut, unacknowledged in flight while
// the path was shut. Without that the stall is not the cut's work. The rules'
// counters can't tell: the canary's packets are among them.
func (j *judge) met() bool {
	last := j.cut.startN
	for _, s := range j.conn.seen {
		if s.at >= j.cut.start && s.since <= j.cut.end {
			if last = s.n; s.sock.SendQ > 0 {
				return j.gate(holds("met", true, fmt.Sprintf("the connection had %s in flight when the path was cut", count(s.sock.SendQ, "byte")), s.n))
			}
		}
	}
	if j.cut.stale > 0 {
		if n, ok := j.sentInVain(); ok {
			return j.gate(holds("met", true, fmt.Sprintf("the connection was idle during the cut; the path forgot it then, and has dropped what it sent since (%s)", count(j.cut.stale, "packet")), n, j.cut.staleN))
		}
		if n, ok := j.ackedInVain(); ok {
			return j.gate(holds("met", true, fmt.Sprintf("a kernel on the way acknowledged what the connection sent, and no answer came since the cut; behind it the path has dropped %s of connections of before", count(j.cut.stale, "packet")), n, j.cut.staleN))
		}
	}
	return j.gate(holds("met", false, "the cut did not meet the connection: it had nothing unacknowledged in flight meanwhile, so the stall has another cause", j.cut.startN, last))
}

// sentInVain reports whether the connection has had data in flight since the cut
// of which nothing was ever acknowledged.
func (j *judge) sentInVain() (record uint64, ok bool) {
	last := j.conn.lastSeen()
	if last.sock.SendQ == 0 || last.sock.Retransmits == 0 || last.sock.Timer != sockstate.TimerRetransmit {
		return 0, false
	}
	return last.n, last.sock.Info == nil || last.at-last.sock.Info.LastAckRecv <= j.cut.end+j.th.Settle
}

// ackedInVain reports whether the connection has sent data since the cut began that
// a kernel acknowledged, a proxy's say, and that was never answered.
func (j *judge) ackedInVain() (record uint64, ok bool) {
	last := j.conn.lastSeen()
	if last.sock.SendQ != 0 || last.sock.Info == nil {
		return 0, false
	}
	sent, read := last.at-last.sock.Info.LastDataSent, last.at-last.sock.Info.LastDataRecv
	return last.n, sent > j.cut.start && read <= j.cut.start+j.th.Settle
}

// horizon: new connections passed again, and the stall was watched long enough
// after that.
func (j *judge) horizon() bool {
	open, n, ok := j.pathOpen()
	if !ok {
		return j.gate(holds("horizon", false, "no new connection is known to pass since the cut: the path may still be shut", j.cut.endN, j.last.N))
	}
	watched := max(j.last.Mono-open, 0) // the last reading may have been before it
	enough := watched >= j.th.Horizon
	says := "the path has carried new connections again"
	if n == j.cut.endN {
		says = "marks say that the path is open again"
		if j.cut.known == byRules {
			says = "the rules that cut the path have been gone"
		}
	}
	text := fmt.Sprintf("%s since %s, and the connection was watched for %s after that", says, j.clock(open), round(watched))
	if !enough {
		text += fmt.Sprintf("; at least %s are needed", j.th.Horizon)
	}
	return j.gate(holds("horizon", enough, text, n, j.last.N))
}

// pathOpen is since when new connections have passed: the first canary that set
// out after the cut and passed, with none that failed behind it. Where nothing
// tried the path, the marks or the rules that tell of the cut have the last word.
func (j *judge) pathOpen() (at time.Duration, n uint64, ok bool) {
	if (j.cut.known == byMarks || j.cut.known == byRules) && len(j.canary) == 0 {
		return j.cut.end, j.cut.endN, true
	}
	for _, c := range j.canary {
		switch {
		case c.from < j.cut.end:
		case !c.body.Passed:
			ok = false
		case !ok:
			at, n, ok = c.at, c.n, true
		}
	}
	return at, n, ok
}
