package logtail

import (
	"context"
	"errors"
	"time"

	"github.com/fsnotify/fsnotify"
)

// group follows one path, or all that match a pattern, on one goroutine.
type group struct {
	cfg   Config
	h     Handler
	hub   *hub
	buf   []byte // mark and chunk, of the tail that reads
	known *memory
	list  lister
	tails map[*watcher]*tail
	paths map[string]*tail // the same
	dirty map[*tail]bool   // to be read
	glob  *glob            // nil where one path is followed

	ending bool // what comes from now on is not read any more
}

func newGroup(cfg Config, h Handler) *group {
	return &group{
		cfg: cfg, h: h, buf: make([]byte, markSize+chunkSize), known: newMemory(),
		hub:   newHub(func(s string) { h.Note(cfg.Path + ": " + s) }),
		tails: map[*watcher]*tail{}, paths: map[string]*tail{}, dirty: map[*tail]bool{},
	}
}

func (g *group) close() {
	for _, t := range g.tails {
		t.close()
	}
	g.hub.close()
}

// run reads until ctx ends, and then once more.
func (g *group) run(ctx context.Context) error {
	tick := time.NewTicker(g.cfg.Poll)
	defer tick.Stop()
	for {
		if err := g.read(); err != nil {
			return err
		}
		if ctx.Err() != nil { // select takes any of what is ready
			return g.finish()
		}
		var ready chan struct{}
		if len(g.dirty) > 0 {
			ready = closed
		}
		var again <-chan time.Time
		if g.glob != nil {
			again = g.glob.again
		}
		select {
		case <-ctx.Done():
			return g.finish()
		case <-tick.C:
			g.tick()
		case ev := <-g.hub.events():
			g.tell(ev)
			g.dispatch()
		case err := <-g.hub.errs:
			g.lost(err)
		case <-again:
			g.glob.stale, g.glob.again = true, nil
		case <-ready:
		}
	}
}

// dispatch tells the events that are there.
func (g *group) dispatch() {
	for n := len(g.hub.events()); n > 0; n-- {
		g.tell(<-g.hub.events())
	}
}

// tell wakes the tails that an event concerns. Most are of a write to a file by
// the name it is followed by.
func (g *group) tell(ev fsnotify.Event) {
	if t := g.paths[ev.Name]; t != nil && ev.Op == fsnotify.Write {
		t.watch.heard = time.Now()
		t.wake(false)
		return
	}
	g.hub.dispatch(ev, g.woken)
}

// closed can always be received from.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (g *group) woken(w *watcher, op fsnotify.Op) {
	if t := g.tails[w]; t != nil {
		t.wake(op != fsnotify.Write)
	} else if g.glob != nil {
		g.glob.stale = true
	}
}

// read gives each tail that has something to read a turn.
func (g *group) read() error {
	for t := range g.dirty {
		more, err := t.pass(turnSize)
		if err != nil {
			return err
		}
		if more {
			continue
		}
		delete(g.dirty, t)
		if g.glob != nil && t.over() {
			if err := g.glob.end(t); err != nil {
				return err
			}
		}
	}
	if g.glob != nil {
		g.glob.scan() // last: a tail may know what has a new name
	}
	return nil
}

// tick looks at what events may have missed.
func (g *group) tick() {
	for w, t := range g.tails {
		if g.glob == nil || g.glob.due(t) {
			w.tick()
			t.wake(true)
		}
	}
	if g.glob != nil {
		g.glob.tick()
	}
}

// lost handles an error of the watch itself: events are missing, so everything
// is looked at, and the tick covers the rest.
func (g *group) lost(err error) {
	overflow := errors.Is(err, fsnotify.ErrEventOverflow)
	if overflow {
		g.hub.note("the queue of file events overflowed; polled once instead")
	} else {
		g.hub.note("file events: " + err.Error())
	}
	for w, t := range g.tails {
		t.wake(true)
		if overflow {
			w.opened, w.missed = w.created, true
		}
	}
	if g.glob != nil {
		g.glob.stale = true
	}
}

// finishWithin is how long the reading at the end may take: whoever ends a
// recording does not wait for gigabytes.
const finishWithin = 3 * time.Second

// finish reads what is there once more and hands on unfinished lines.
func (g *group) finish() error {
	g.ending = true
	until := time.Now().Add(finishWithin)
	g.dispatch()
	if g.glob != nil {
		g.glob.scan()
	}
	for _, t := range g.tails {
		if err := t.finish(until); err != nil {
			return err
		}
	}
	return nil
}
