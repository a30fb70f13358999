package collect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"halfopen/beatstats"
	"halfopen/clock"
	"halfopen/sockstate"
	"halfopen/timeline"
)

const (
	// standsFor is how long acks stand still, with work waiting, before the
	// programs are asked: long before Filebeat's own timeout (30 s) ends the wait.
	standsFor = 10 * time.Second
	// retransmitted is how often a connection's RTO has doubled by then.
	retransmitted = 2
	// askAgainAfter is the time between the two dumps of a program's stacks: what
	// stands in both, waits.
	askAgainAfter = 5 * time.Second
	// onsetEvery is the least time between two of them at a place, and maxOnsets
	// how many a recording keeps: a bad line has hundreds a day.
	onsetEvery = time.Minute
	maxOnsets  = 20
)

// Onset keeps what the programs tell of themselves at the moment at which a stall
// may begin: it can't be had later. What it takes for one is only when to keep
// more; the judge does not hear of it.
type Onset struct {
	wake  chan string // why
	now   func() time.Duration
	again time.Duration

	mu     sync.Mutex
	asked  []*Stats // that run
	places map[string]*standing
	kept   int
	absent map[string]bool // pages that are known not to be there
}

// standing is what was last seen of a place.
type standing struct {
	acked   int64
	counted bool          // there are counters of acks
	since   time.Duration // monotonic: they have stood since then, with work waiting
	resends bool          // a connection's RTO has doubled
	noticed time.Duration // monotonic: the last onset, 0: none
	stalled bool          // since noticed; no other onset before it is over
}

// NewOnset returns a source that Stats and Sockets tell of what they read.
func NewOnset() *Onset {
	return &Onset{wake: make(chan string, 1), now: clock.Mono, again: askAgainAfter, places: map[string]*standing{}, absent: map[string]bool{}}
}

func (o *Onset) enter(s *Stats) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, s)
}

func (o *Onset) leave(s *Stats) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = slices.DeleteFunc(o.asked, func(a *Stats) bool { return a == s })
}

func (o *Onset) place(at string) *standing {
	p := o.places[at]
	if p == nil {
		p = &standing{}
		o.places[at] = p
	}
	return p
}

// counters is told of every reading of a program's counters.
func (o *Onset) counters(at string, s beatstats.Sample) {
	if o == nil || !s.Acked.OK() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	p, now := o.place(at), o.now()
	waits := s.Pending.OK() && s.Pending.N > 0 || s.Active.OK() && s.Active.N > 0
	if !p.counted || s.Acked.N != p.acked || !waits {
		p.acked, p.counted, p.since = s.Acked.N, true, now
		p.stalled = p.stalled && p.resends
		return
	}
	if now-p.since >= standsFor {
		o.notice(p, fmt.Sprintf("acked of %s has stood at %d for %s with work waiting", at, s.Acked.N, (now-p.since).Round(time.Second)))
	}
}

// sockets is told of every record of a place's sockets.
func (o *Onset) sockets(at string, socks []sockstate.Socket) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.place(at)
	i := slices.IndexFunc(socks, resends)
	if p.resends = i >= 0; p.resends {
		o.notice(p, fmt.Sprintf("%s of %s has been sent again %d times without an answer", socks[i].Flow, at, socks[i].Retransmits))
	} else if !p.counted {
		p.stalled = false
	}
}

func resends(s sockstate.Socket) bool {
	return s.State == sockstate.Established && s.Timer == sockstate.TimerRetransmit &&
		(s.Info != nil && s.Info.Backoff >= retransmitted || s.Info == nil && s.Retransmits >= retransmitted)
}

// notice starts an onset, unless the place has one already.
func (o *Onset) notice(p *standing, why string) {
	now := o.now()
	if p.stalled {
		return
	}
	p.stalled = true
	if p.noticed != 0 && now-p.noticed < onsetEvery || o.kept == maxOnsets {
		return
	}
	select {
	case o.wake <- why:
		p.noticed = now
		o.kept++
	default: // another place's is being kept: the programs are asked anyway
	}
}

// Run keeps until ctx ends.
func (o *Onset) Run(ctx context.Context, rec *Recorder) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case why := <-o.wake:
			o.keep(ctx, rec, why)
		}
	}
}

// keep asks all programs at once, and some of it again.
func (o *Onset) keep(ctx context.Context, rec *Recorder, why string) {
	rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: "a stall may begin: " + why}})
	o.ask(ctx, rec, func(beatstats.Page) bool { return true })
	again := time.NewTimer(o.again)
	defer again.Stop()
	select {
	case <-ctx.Done():
	case <-again.C:
		o.ask(ctx, rec, func(p beatstats.Page) bool { return p.Again })
	}
}

func (o *Onset) ask(ctx context.Context, rec *Recorder, which func(beatstats.Page) bool) {
	o.mu.Lock()
	asked := slices.Clone(o.asked)
	o.mu.Unlock()
	var wait sync.WaitGroup
	for _, s := range asked {
		wait.Go(func() {
			for _, p := range beatstats.OnsetPages(s.answers()) {
				if which(p) {
					o.page(ctx, rec, s, p)
				}
			}
		})
	}
	wait.Wait()
}

// page keeps a page; that it is not there is said once.
func (o *Onset) page(ctx context.Context, rec *Recorder, s *Stats, p beatstats.Page) {
	known := s.Name + p.Path
	o.mu.Lock()
	absent := o.absent[known]
	o.mu.Unlock()
	if absent {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.limit())
	defer cancel()
	body, took, err := s.Client.Fetch(ctx, p.Path)
	switch {
	case err == nil:
		rec.keepRaw(fmt.Sprintf("onset-%s-%s-%s", stamp(), s.Name, p.Name), p.What+" of "+s.Name, body)
	case beatstats.NotFound(err):
		o.mu.Lock()
		o.absent[known] = true
		o.mu.Unlock()
		rec.Append(took, timeline.Body{Mark: &timeline.Mark{Text: fmt.Sprintf("%s of %s: %s", p.What, s.Name, cmp.Or(p.Absent, "there is no such page"))}})
	default:
		rec.Fail(p.What+" of "+s.Name, took, err)
	}
}
