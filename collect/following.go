package collect

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"halfopen/timeline"
)

// Process is one life of a watched program: a restart makes another, with
// another pid and maybe in another network namespace.
type Process struct {
	PID     int
	Command []string
	Running bool
	How     string // of an end, where it is known
}

// Following keeps watching a program over its restarts: the sources of one life
// end with it, those of the next begin. An open descriptor would keep a dead,
// silent namespace alive for ever.
type Following struct {
	Name string // filebeat
	At   string // place
	// Watch calls back with the process as it is, and at every change, until ctx
	// ends.
	Watch func(ctx context.Context, each func(Process)) error
	// Open makes the sources of a process; done lets go of what they use.
	Open func(p Process) (sources []Source, done func(), err error)

	mu        sync.Mutex
	witnesses []Witness
}

// Run watches until ctx ends.
func (f *Following) Run(ctx context.Context, rec *Recorder) error {
	end := func() {}
	err := f.Watch(ctx, func(p Process) {
		end()
		end = func() {}
		party := &timeline.Party{Name: f.Name, At: f.At, Change: timeline.Started, PID: p.PID, Command: p.Command, How: p.How}
		if !p.Running {
			party.Change = timeline.Exited
		}
		rec.Append(0, timeline.Body{Party: party})
		if p.Running {
			end = f.live(ctx, rec, p)
		}
	})
	end()
	if err != nil && ctx.Err() == nil {
		rec.Fail("process of "+f.Name, 0, err)
	}
	return nil
}

// live runs the sources of one life, and returns what ends them.
func (f *Following) live(ctx context.Context, rec *Recorder, p Process) (end func()) {
	sources, done, err := f.Open(p)
	if err != nil {
		rec.Fail("process of "+f.Name, 0, err)
		return func() {}
	}
	f.use(sources)
	ctx, cancel := context.WithCancel(ctx)
	var group errgroup.Group
	for _, s := range sources {
		group.Go(func() error { return s.Run(ctx, rec) })
	}
	return func() {
		cancel()
		if err := group.Wait(); err != nil {
			rec.Fail("process of "+f.Name, 0, err)
		}
		f.use(nil)
		done()
	}
}

// use takes the witnesses of a life, which Keep asks.
func (f *Following) use(sources []Source) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.witnesses = nil
	for _, s := range sources {
		if w, ok := s.(Witness); ok {
			f.witnesses = append(f.witnesses, w)
		}
	}
}

// Keep passes on to the sources of the present life.
func (f *Following) Keep(ctx context.Context, rec *Recorder, phase string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keep(ctx, rec, f.witnesses, phase)
}
