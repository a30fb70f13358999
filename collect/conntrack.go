package collect

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"time"

	"halfopen/clock"
	"halfopen/middlebox"
	"halfopen/timeline"
)

// Conntrack reads the connection tracking entries of the watched ports.
type Conntrack struct {
	At     string // place
	Where  Where  // of the records; nil is At alone
	Table  *middlebox.Conntrack
	Every  time.Duration
	Canary netip.Addr // whose entries are left out
	// Most is how long one record of unchanged readings stands for; 0: a second.
	Most time.Duration
	// Share bounds what the readings cost: after one, so many times its CPU time passes
	// until the next. The kernel's walk takes 10 ms, of a busy router 40 ms. 0: it may.
	Share time.Duration
}

// Run reads until ctx ends. Where the kernel tracks nothing there are no records.
func (c *Conntrack) Run(ctx context.Context, rec *Recorder) error {
	at, also := c.Where.or(c.At)
	f := fold[[]middlebox.Entry]{most: c.Most, same: func(a, b []middlebox.Entry) bool { return slices.EqualFunc(a, b, sameEntry) }}
	f.emit = func(entries []middlebox.Entry, readings int, since, took time.Duration) {
		rec.Append(took, timeline.Body{Conntrack: &timeline.Conntrack{At: at, Also: also, Readings: readings, Since: since, Entries: entries}})
	}
	var rest time.Duration // no reading before
	var seen, denied bool
	runtime.LockOSThread() // whose CPU time is looked at: by the wall clock one pause would keep us from looking for minutes
	defer runtime.UnlockOSThread()
	every(ctx, c.Every, func() {
		began, spent := clock.Mono(), clock.Spent()
		if began < rest || denied {
			return
		}
		entries, err := c.Table.List()
		rest = clock.Mono() + c.Share*(clock.Spent()-spent)
		switch {
		case errors.Is(err, os.ErrNotExist): // the kernel does not track, or not yet
			return
		case errors.Is(err, os.ErrPermission):
			denied = true // as Tracking tells
			return
		case err != nil:
			rec.Fail("conntrack of "+c.At, clock.Mono()-began, err)
			return
		}
		if a, b := c.Where.or(c.At); a != at || !slices.Equal(b, also) {
			f.flush()
			at, also = a, b
		}
		entries = slices.DeleteFunc(entries, func(e middlebox.Entry) bool { return e.Orig.Local.Addr() == c.Canary })
		if seen = seen || len(entries) > 0; seen {
			f.add(entries, began)
		}
	})
	f.flush()
	return nil
}

// sameEntry compares all but the timeout, which ticks by itself, and the traffic.
func sameEntry(a, b middlebox.Entry) bool {
	return a.ID == b.ID && a.Orig == b.Orig && a.Reply == b.Reply && a.State == b.State && a.Status == b.Status
}

// Tracking records the kernel's notices of changes of its connection tracking.
type Tracking struct {
	At     string // place
	Where  Where  // of the records; nil is At alone
	Table  *middlebox.Conntrack
	Canary netip.Addr // whose entries are left out
}

// Run watches until ctx ends.
func (t *Tracking) Run(ctx context.Context, rec *Recorder) error {
	source := "conntrack events of " + t.At
	b := burst{source: source}
	err := t.Table.Watch(ctx, func(e middlebox.Event) {
		switch {
		case e.Kind == middlebox.Overrun:
			rec.Append(0, timeline.Body{Gap: &timeline.Gap{Source: source, Lost: -1, Why: "more changes than the netlink buffer holds"}})
		case e.Entry == nil || e.Entry.Orig.Local.Addr() == t.Canary:
		case b.admits(rec, false):
			at, also := t.Where.or(t.At)
			rec.Append(0, timeline.Body{Track: &timeline.Track{At: at, Also: also, Event: e}})
		}
	})
	b.flush(rec)
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, os.ErrPermission):
		rec.Append(0, timeline.Body{Mark: lacking("the connection tracking of "+t.At+" is not read", "CAP_NET_ADMIN", "what its NAT makes of a connection would be recorded, and when it forgets one")})
	default:
		rec.Fail(source, 0, err)
	}
	return nil
}
