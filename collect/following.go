package collect

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"halfopen/timeline"
)

// Process is one life of a watched program: a restart makes another, with
// another pid and maybe in another network namespace.
type Process struct {
	PID     int
	Command []string
	Running bool
	How     string   // of an end, where it is known
	Logs    []string // as Logs.Path; the same ones are read on over a restart
}

// Following keeps watching a program over its restarts: the sources of one life
// end with it, those of the next begin. An open descriptor would keep a dead,
// silent namespace alive for ever.
type Following struct {
	Name string // filebeat
	At   string // place
	// Watch calls back with the process as it is, and at every change, until ctx
	// ends. The calls come one after the other.
	Watch func(ctx context.Context, each func(Process)) error
	// NewLog makes the i-th log of a life, as the first one begins.
	NewLog func(i int, path string) *Logs
	// Counters, where not nil, hears the lines of the logs.
	Counters *LoggedStats
	// Open makes the sources of a process; done lets go of what they use.
	Open func(p Process) (sources []Source, done func(), err error)

	mu        sync.Mutex
	witnesses []Witness
	phase     string
}

var errNotRunning = errors.New("it does not run")

// Run watches until ctx ends. An error of a source ends it before.
func (f *Following) Run(ctx context.Context, rec *Recorder) error {
	watching, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var now Process
	logs := lifeLogs{began: time.Now(), open: f.NewLog}
	endLife := func() {}
	err := f.Watch(watching, func(p Process) {
		switch {
		case now.Running: // a fast restart is told as the new process alone
			now.How = p.How
			f.tell(rec, timeline.Exited, now)
		case !p.Running:
			rec.Fail("process of "+f.Name, 0, errNotRunning)
		}
		endLife()
		endLife, now = func() {}, p
		logs.follow(p.Logs, func(l *Logs) (end func()) {
			f.Counters.Hear(rec, l)
			return run(watching, fail, rec, l)
		})
		if p.Running {
			f.tell(rec, timeline.Started, p)
			endLife = f.live(watching, fail, rec, p)
		}
	})
	endLife()
	logs.end()
	switch {
	case ctx.Err() != nil:
		return nil
	case watching.Err() != nil:
		return context.Cause(watching)
	case err != nil:
		rec.Fail("process of "+f.Name, 0, err)
	}
	return nil
}

func (f *Following) tell(rec *Recorder, change string, p Process) {
	rec.Append(0, timeline.Body{Party: &timeline.Party{Name: f.Name, At: f.At, Change: change, PID: p.PID, Command: p.Command, How: p.How}})
}

// live runs the sources of one life, keeps their first raw evidence, and returns
// what ends them.
func (f *Following) live(ctx context.Context, fail context.CancelCauseFunc, rec *Recorder, p Process) (end func()) {
	sources, done, err := f.Open(p)
	if err != nil {
		rec.Fail("process of "+f.Name, 0, err)
		return func() {}
	}
	f.use(sources)
	stop := run(ctx, fail, rec, sources...)
	var first sync.WaitGroup
	first.Go(func() { f.keep(context.WithoutCancel(ctx), rec) }) // what was begun is kept
	return func() {
		stop()
		first.Wait()
		f.use(nil)
		done()
	}
}

// run starts sources, and returns what ends them.
func run(ctx context.Context, fail context.CancelCauseFunc, rec *Recorder, sources ...Source) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, s := range sources {
		running.Go(func() {
			if err := s.Run(ctx, rec); err != nil {
				fail(err)
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// use takes the witnesses of a life, which Keep asks.
func (f *Following) use(sources []Source) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.witnesses = witnesses(sources)
}

// Keep passes on to the sources of the present life.
func (f *Following) Keep(ctx context.Context, rec *Recorder, phase string) {
	f.mu.Lock()
	f.phase = phase
	f.mu.Unlock()
	f.keep(ctx, rec)
}

func (f *Following) keep(ctx context.Context, rec *Recorder) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keep(ctx, rec, f.witnesses, cmp.Or(f.phase, Before))
}
