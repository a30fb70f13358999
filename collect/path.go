package collect

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"halfopen/clock"
	"halfopen/fault"
	"halfopen/netns"
	"halfopen/timeline"
)

// Drops polls the counters of a fault's rules.
type Drops struct {
	At    string
	Fault *fault.Fault
	Every time.Duration
}

// Run polls until ctx ends. Before the fault has rules there is nothing to tell.
func (d *Drops) Run(ctx context.Context, rec *Recorder) error {
	f := fold[[]fault.Counter]{same: func(a, b []fault.Counter) bool { return slices.Equal(a, b) }}
	f.emit = func(counters []fault.Counter, _ int, _, took time.Duration) {
		rec.Append(took, timeline.Body{Drops: &timeline.Drops{At: d.At, Counters: counters}})
	}
	every(ctx, d.Every, func() {
		began := clock.Mono()
		counters, err := d.Fault.Counters()
		if err != nil {
			rec.Fail("drop counters of "+d.At, clock.Mono()-began, err)
			return
		}
		if len(counters) > 0 {
			f.add(counters, began)
		}
	})
	f.flush()
	return nil
}

// Canary tries the path with a fresh connection that is closed at once.
type Canary struct {
	NS    *netns.NS
	From  netip.Addr // of its own, so that nobody takes it for the shipper
	To    netip.AddrPort
	Every time.Duration
}

// Run tries until ctx ends. A try takes one period at most; on a host that does not get to
// run it once more.
func (c *Canary) Run(ctx context.Context, rec *Recorder) error {
	every(ctx, c.Every, func() {
		took, err := c.once(ctx)
		if late := c.Every + c.Every/10; err != nil && took > late {
			took, err = c.once(ctx) // a try that this host was late with says nothing of the path
		}
		if err != nil && ctx.Err() != nil {
			return
		}
		k := &timeline.Canary{From: c.From, To: c.To, Passed: err == nil}
		if err != nil {
			k.Error = shortError(err)
		}
		rec.Append(took, timeline.Body{Canary: k})
	})
	return nil
}

func (c *Canary) once(ctx context.Context) (took time.Duration, err error) {
	began := clock.Mono()
	err = c.NS.Do(func() error { return c.try(ctx) })
	return clock.Mono() - began, err
}

func (c *Canary) try(ctx context.Context) error {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.From, 0)), Timeout: c.Every}
	conn, err := d.DialContext(ctx, "tcp", c.To.String())
	if err != nil {
		return err
	}
	return conn.Close()
}

// shortError leaves the addresses out, which the record has already.
func shortError(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err.Error()
	}
	return err.Error()
}
