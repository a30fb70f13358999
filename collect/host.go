package collect

import (
	"context"
	"net/netip"
	"time"

	"halfopen/clock"
	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// Kernel reads the TCP counters of a namespace.
type Kernel struct {
	At    string
	Where Where // of the records; nil is At alone
	NS    *netns.NS
	Every time.Duration
}

// Run reads until ctx ends.
func (k *Kernel) Run(ctx context.Context, rec *Recorder) error {
	every(ctx, k.Every, func() { k.Once(ctx, rec) })
	return nil
}

// Destroyed listens to the kernel's notices of sockets that end: the exact time,
// and their last state.
type Destroyed struct {
	At     string
	Where  Where // of the records; nil is At alone
	NS     *netns.NS
	Ports  flow.Ports
	Canary netip.Addr // whose sockets are left out
}

// Run listens until ctx ends.
func (d *Destroyed) Run(ctx context.Context, rec *Recorder) error {
	source := "socket ends of " + d.At
	err := sockstate.WatchDestroy(ctx, d.NS, d.Ports, func(e sockstate.Destroyed) {
		switch {
		case e.Overrun:
			rec.Append(0, timeline.Body{Gap: &timeline.Gap{Source: source, Lost: -1, Why: "the kernel's buffer of notices overran"}})
		case e.Socket.Local.Addr() != d.Canary:
			at, also := d.Where.or(d.At)
			rec.Append(0, timeline.Body{Destroyed: &timeline.Destroyed{At: at, Also: also, Socket: e.Socket}})
		}
	})
	if err != nil {
		rec.Fail(source, 0, err) // the readings still show that it is gone, not when
	}
	return nil
}

// Clock watches for steps of the wall clock against the monotonic one.
type Clock struct {
	Every time.Duration
	// Offset is the wall clock less the monotonic one; nil is the host's.
	Offset func() time.Duration
}

// stepOver is the smallest change that is a step: a clock that is slewed moves
// by at most 500 ppm (adjtimex(2)), half a millisecond a second.
const stepOver = 50 * time.Millisecond

// Run watches until ctx ends.
func (c Clock) Run(ctx context.Context, rec *Recorder) error {
	offset := c.Offset
	if offset == nil {
		offset = func() time.Duration { return time.Duration(time.Now().UnixNano()) - clock.Mono() }
	}
	last := offset()
	every(ctx, c.Every, func() {
		now := offset()
		if step := now - last; step.Abs() > stepOver {
			rec.Append(0, timeline.Body{Clock: &timeline.Clock{Step: step}})
		}
		last = now
	})
	return nil
}
