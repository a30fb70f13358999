package collect

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"halfopen/clock"
	"halfopen/timeline"
)

const (
	// indexEvery is how often what was read is written and indexed.
	indexEvery = 500 * time.Millisecond
	// writeAt is how many bytes are worth a write before that, and writeAgain how
	// soon after the last one fewer bytes are.
	writeAt    = 64 << 10
	writeAgain = 5 * time.Millisecond
	// maxWaiting is how many bytes wait in memory for the disk; as many again are
	// being written.
	maxWaiting = 2 << 20
	// diskPatience is how long the reading of a log waits for the disk to take what
	// waits before lines are left out of the copy: a disk is too slow below 1 MiB a
	// second. The end waits as long.
	diskPatience = 2 * time.Second
	// maxIndex is how many index records wait for the next tick.
	maxIndex = 256
)

// logCopy is the evidence file of a log. Lines are put in by the goroutine that
// reads the log and written by one of its own, so that a disk that hangs holds up
// neither the reading nor what the lines say.
type logCopy struct {
	rec    *Recorder
	source string // of records: "log of filebeat"
	name   string // filebeat
	rest   string // of the file's name
	prompt bool   // no line waits for others

	wake  chan struct{}     // there is something to write
	room  chan struct{}     // the writer has taken what waited
	asked chan chan<- error // by flush
	done  chan struct{}     // the writer has ended

	mu      sync.Mutex
	waiting batch
	closing bool
	stuck   bool // the patience is used up until the writer takes something
	missing lost // not told yet
}

// lost counts what is not in the copy.
type lost struct {
	bytes, lines int64
	why          string
}

func openCopy(rec *Recorder, name, rest string) *logCopy {
	c := &logCopy{
		rec: rec, source: "log of " + name, name: name, rest: rest,
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), asked: make(chan chan<- error), done: make(chan struct{}),
	}
	begun := make(chan struct{})
	go c.write(begun)
	select {
	case <-begun: // from now on the file is among the evidence
	case <-time.After(rec.patience):
	}
	return c
}

// put takes a line. It waits for the disk no longer than diskPatience; then the line
// is left out, but not what it says.
func (c *logCopy) put(l copied) {
	if !c.fits(l) {
		c.miss(lost{int64(len(l.bytes)) + 1, 1, "the disk did not take it as fast as the log grew"})
		for _, e := range l.events {
			c.rec.Append(clock.Mono()-l.read, timeline.Body{Event: e})
		}
	}
}

// fits puts a line in, if there is room or will be soon.
func (c *logCopy) fits(l copied) bool {
	var late <-chan time.Time
	for {
		c.mu.Lock()
		fits := c.waiting.size == 0 || c.waiting.size+l.weight() <= maxWaiting
		if fits {
			c.waiting.add(l)
		}
		urgent, stuck := c.waiting.size >= writeAt || len(l.events) > 0 || c.prompt, c.stuck
		c.mu.Unlock()
		if urgent {
			signal(c.wake)
		}
		switch {
		case fits:
			return true
		case stuck:
			return false
		case late == nil:
			late = time.After(c.rec.patience)
		}
		select {
		case <-c.room:
		case <-late:
			c.mu.Lock()
			c.stuck = true
			c.mu.Unlock()
			c.rec.Lose(c.source, fmt.Errorf("%w: lines are left out of it, but what they mean is recorded", errDiskHangs))
			return false
		}
	}
}

func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

var errDiskHangs = errors.New("the disk does not take the copy")

// flush brings what was put in to the disk.
func (c *logCopy) flush() error {
	reply := make(chan error, 1)
	late := time.After(c.rec.patience)
	select {
	case c.asked <- reply:
	case <-c.done:
		return nil
	case <-late:
		return fmt.Errorf("copy %s: %w", c.source, errDiskHangs)
	}
	select {
	case err := <-reply:
		return err
	case <-late:
		return fmt.Errorf("copy %s: %w", c.source, errDiskHangs)
	}
}

// close ends the copy. A disk that hangs keeps the writer, but not the caller.
func (c *logCopy) close() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	signal(c.wake)
	select {
	case <-c.done:
		c.found()
	case <-time.After(c.rec.patience):
		c.rec.Lose(c.source, fmt.Errorf("%w: what was read last is not in it", errDiskHangs))
		c.found()
	}
}

// gap records something missing from the log, or from the copy.
func (c *logCopy) gap(g timeline.Gap) {
	g.Source = c.source
	c.rec.Append(0, timeline.Body{Gap: &g})
}

// write is the writer's goroutine.
func (c *logCopy) write(begun chan<- struct{}) {
	defer close(c.done)
	w := &copyWriter{c: c, path: c.rec.Path(c.rest), file: c.rec.Name(c.rest)}
	defer w.close()
	_ = w.open() // recorded, and tried again
	close(begun)
	tick := time.NewTicker(indexEvery)
	defer tick.Stop()
	for closing := false; !closing; {
		var reply chan<- error
		select {
		case <-c.wake:
		case <-tick.C:
			w.tell()
		case reply = <-c.asked:
		}
		var b batch
		b, closing = c.take()
		if b.size > 0 {
			w.write(b)
		}
		if reply != nil {
			reply <- w.sync()
		}
		if 0 < b.size && b.size < writeAt && !closing {
			time.Sleep(writeAgain)
		}
	}
	w.tell()
}

func (c *logCopy) take() (b batch, closing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, c.waiting, c.stuck = c.waiting, batch{}, false
	signal(c.room)
	return b, c.closing
}

// miss counts what is not in the copy; found tells of it, once lines are again.
func (c *logCopy) miss(m lost) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missing.bytes += m.bytes
	c.missing.lines += m.lines
	c.missing.why = m.why
}

func (c *logCopy) found() {
	c.mu.Lock()
	m := c.missing
	c.missing = lost{}
	c.mu.Unlock()
	if m.lines > 0 {
		c.gap(timeline.Gap{Lost: m.bytes, Lines: m.lines, Why: "not in the copy: " + m.why})
	}
}
