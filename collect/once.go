package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"halfopen/clock"
	"halfopen/middlebox"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// Reader is a Source that can also read a single time, for a snapshot.
type Reader interface {
	Source
	// Once reads, and keeps the raw material. What can't be read is a Failure.
	Once(ctx context.Context, rec *Recorder)
}

// Single is the phase in the names of a snapshot's evidence files.
const Single = "snapshot"

// endsWithin is how soon a Reader ends that hears of the end of ctx. One that has
// Readers within gives them less, so that it is they who are named.
const (
	endsWithin          = 600 * time.Millisecond
	endsWithinProcess   = 400 * time.Millisecond
	endsWithinNamespace = 200 * time.Millisecond
)

// ErrTime says that a snapshot lacks what could not be read in time.
var ErrTime = errors.New("the time was up before everything was read")

// Once has all sources that can read a single time do so, at once, until ctx ends;
// the others are left out. One that does not end in time is given up: the error
// wraps ErrTime then, and a Failure names it.
func (r *Recorder) Once(ctx context.Context, sources ...Source) error {
	return r.once(ctx, endsWithin, sources)
}

func (r *Recorder) once(ctx context.Context, within time.Duration, sources []Source) error {
	left := map[Reader]bool{}
	for _, s := range sources {
		if one, ok := s.(Reader); ok {
			left[one] = true
		}
	}
	var mu sync.Mutex
	done := make(chan struct{})
	var reading sync.WaitGroup
	for one := range maps.Clone(left) {
		reading.Go(func() {
			one.Once(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			delete(left, one)
		})
	}
	go func() { reading.Wait(); close(done) }()
	select {
	case <-done: // it may be because ctx ended
	case <-ctx.Done():
		select {
		case <-done:
		case <-time.After(within):
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for one := range left {
		r.Fail(nameOf(one), 0, ErrTime)
	}
	if len(left) > 0 || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrTime
	}
	return nil
}

func nameOf(s Source) string {
	switch s := s.(type) {
	case *Following:
		return "process of " + s.Name
	case *Logs:
		return "log of " + s.Name
	case *Owners:
		return "owners of sockets"
	case *Stats:
		return "stats of " + s.Name
	case *Sockets:
		return "sockets of " + s.At
	case *Kernel:
		return "kernel counters of " + s.At
	case *Conntrack:
		return "conntrack of " + s.At
	case *Rules:
		return "packet filter of " + s.At
	case *Links:
		return "links of " + s.At
	case *Shared:
		return "namespace of " + s.place
	}
	return fmt.Sprintf("%T", s)
}

// maxSingle is how many sockets, or entries, a snapshot records: a line of the
// timeline holds so many.
const maxSingle = 10_000

// Once reads the sockets.
func (s *Sockets) Once(ctx context.Context, rec *Recorder) {
	began := clock.Mono()
	source := nameOf(s)
	read, via, done, err := s.reader(rec)
	if err != nil {
		rec.Fail(source, clock.Mono()-began, err)
		return
	}
	defer done()
	socks, err := read()
	if err != nil {
		rec.Fail(source, clock.Mono()-began, err)
		return
	}
	if n := len(socks); n > maxSingle {
		rec.Fail(source, 0, fmt.Errorf("%d sockets on the watched ports: the first %d by address are recorded", n, maxSingle))
		socks = socks[:maxSingle]
	}
	at, also := s.Where.or(s.At)
	rec.Append(clock.Mono()-began, timeline.Body{Sockets: &timeline.Sockets{At: at, Also: also, Via: via, Readings: 1, Sockets: kept(socks)}})
	if s.Owners != nil {
		s.Owners.see(at, also, socks)
	}
	if ctx.Err() == nil {
		s.Keep(ctx, rec, Single)
	}
}

// Once reads the counters.
func (k *Kernel) Once(_ context.Context, rec *Recorder) {
	began := clock.Mono()
	counters, err := sockstate.ReadCounters(k.NS.ProcRoot())
	if err != nil {
		rec.Fail(nameOf(k), clock.Mono()-began, err)
		return
	}
	at, also := k.Where.or(k.At)
	rec.Append(clock.Mono()-began, timeline.Body{Kernel: &timeline.Kernel{At: at, Also: also, Counters: counters}})
}

// Once scrapes the counters. Raw material of an endpoint that does not answer is
// not asked for.
func (s *Stats) Once(ctx context.Context, rec *Recorder) {
	began := clock.Mono()
	sample, err := s.scrape(ctx)
	took := clock.Mono() - began
	if err != nil {
		rec.Fail(nameOf(s), took, err)
		return
	}
	rec.Append(took, timeline.Body{Stats: &timeline.Stats{At: s.At, Name: s.Name, Endpoint: s.Client.Endpoint(), Sample: sample}})
	s.Keep(ctx, rec, Single)
}

// Once reads the entries, where the kernel tracks and lets us.
func (c *Conntrack) Once(_ context.Context, rec *Recorder) {
	began := clock.Mono()
	entries, err := c.Table.List()
	at, also := c.Where.or(c.At)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
	case err != nil:
		rec.Fail(nameOf(c), clock.Mono()-began, err)
	case len(entries) > 0:
		if n := len(entries); n > maxSingle {
			slices.SortFunc(entries, byAddress)
			rec.Fail(nameOf(c), 0, fmt.Errorf("%d entries of the watched ports: the first %d by address are recorded", n, maxSingle))
			entries = entries[:maxSingle]
		}
		rec.Append(clock.Mono()-began, timeline.Body{Conntrack: &timeline.Conntrack{At: at, Also: also, Readings: 1, Entries: entries}})
	}
}

// byAddress orders entries; the kernel's order is that of its hash table.
func byAddress(a, b middlebox.Entry) int {
	return cmp.Or(a.Orig.Local.Compare(b.Orig.Local), a.Orig.Remote.Compare(b.Orig.Remote), cmp.Compare(a.ID, b.ID))
}

// Once names the owners of the sockets that were seen so far.
func (o *Owners) Once(ctx context.Context, rec *Recorder) {
	for ctx.Err() == nil {
		select {
		case u := <-o.found:
			o.name(rec, u)
		default:
			return
		}
	}
}

// Once reads what the namespace has, unless another place in it has done so.
func (s *Shared) Once(ctx context.Context, rec *Recorder) {
	s.all.once(s.inode, func() { _ = rec.once(ctx, endsWithinNamespace, s.sources) })
}
