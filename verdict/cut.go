package verdict

import (
	"fmt"
	"time"

	"halfopen/fault"
)

// cut is the time during which the path was shut, by the fault's own records.
type cut struct {
	startN, endN uint64
	start        time.Duration // the rule was surely in place
	end          time.Duration // until here it surely was; 0: the recording ends before it
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
		case step.Name == fault.StepDrop && c == nil:
			c = &cut{startN: f.n, start: step.Mono + step.Took, startWall: step.End.UTC()}
		case step.Name == fault.StepForget && c != nil && c.endN == 0:
			c.endN, c.end, c.endWall = f.n, step.Mono, step.Start.UTC()
		}
	}
	if c != nil {
		r.countDrops(c)
	}
	return c
}

// countDrops takes the counters' last readings: they only grow.
func (r *run) countDrops(c *cut) {
	for _, d := range r.drops {
		var packets, bytes, stale uint64
		for _, k := range d.body.Counters {
			if k.Step == fault.StepDrop {
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
	w := &Window{Start: c.startWall, Known: "the fault's own record"}
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
	case !c.counted:
		return j.gate(holds("window", false, "the counters of the dropping rules were never read: whether the cut dropped anything is not known", c.startN))
	case c.packets == 0:
		return j.gate(holds("window", false, "the cut dropped not one packet: it missed the connection", c.startN, c.dropsN, c.endN))
	}
	return j.gate(holds("window", true, fmt.Sprintf("the path was cut for %s and dropped %s (%d bytes)",
		round(c.end-c.start), count(c.packets, "packet"), c.bytes), c.startN, c.dropsN, c.endN))
}

// horizon: new connections passed again, and the stall was watched long enough
// after that.
func (j *judge) horizon() bool {
	open, n, ok := j.pathOpen()
	if !ok {
		return j.gate(holds("horizon", false, "no new connection is known to have passed after the cut: the path may still be shut", j.cut.endN))
	}
	watched := j.last.Mono - open
	enough := watched >= j.th.Horizon
	text := fmt.Sprintf("the path carried new connections again at %s, and the connection was watched for %s after that", clock(j.wall(open)), round(watched))
	if !enough {
		text += fmt.Sprintf("; at least %s are needed", j.th.Horizon)
	}
	return j.gate(holds("horizon", enough, text, n, j.last.N))
}

// pathOpen is when the first canary passed that set out after the cut's end.
func (j *judge) pathOpen() (at time.Duration, n uint64, ok bool) {
	for _, c := range j.canary {
		if c.body.Passed && c.at >= j.cut.end {
			return c.at, c.n, true
		}
	}
	return 0, 0, false
}
