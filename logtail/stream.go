package logtail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// maxQueue is how many bytes of lines wait for the handler, each counted
	// with lineCost.
	maxQueue = 4 << 20
	lineCost = 128
)

// FollowStream hands on the lines of a stream that nobody keeps: the standard
// output of a process, an engine's log stream. It reads without pause, so that
// the writer does not wait for the handler; lines that the handler has not taken
// yet are queued, 4 MiB at most, and what comes while the queue is full, for
// longer than cfg.Patience, is lost and becomes a Gap with its size.
// cfg.Path is the name for Line.File; From, Poll and Positions have no meaning.
// It closes r before it returns; a Read that waits must end by that. It returns
// nil when r ends, or ctx does.
func FollowStream(ctx context.Context, r io.ReadCloser, cfg Config, h Handler) error {
	if err := prepare(&cfg, &h); err != nil {
		return errors.Join(err, r.Close())
	}
	q := &queue{more: make(chan struct{}, 1), room: make(chan struct{}, 1), patience: cfg.Patience}
	var reading sync.WaitGroup
	reading.Go(func() { q.fill(r, cfg) })
	err := q.empty(ctx, cfg, h)
	_ = r.Close() // it ends the reading
	reading.Wait()
	if err == nil && ctx.Err() != nil {
		err = q.rest(cfg, h)
	}
	if err == nil && q.err != nil && ctx.Err() == nil {
		err = fmt.Errorf("read the lines of %q: %w", cfg.Path, q.err)
	}
	return err
}

// queue holds the lines between the reader and the handler.
type queue struct {
	more     chan struct{} // holds one value when something was put in
	room     chan struct{} // the same when something was taken out
	patience time.Duration

	mu    sync.Mutex
	lines []Line
	size  int   // bytes of them
	lost  Gap   // that comes after them
	ended bool  // nothing will be put in any more
	err   error // why the reading ended; nil at the end of the stream
}

// fill reads r to its end.
func (q *queue) fill(r io.Reader, cfg Config) {
	split := splitter{max: cfg.MaxLine, file: cfg.Path, line: q.put}
	buf := make([]byte, recordSize)
	var err error
	for err == nil {
		var n int
		n, err = r.Read(buf)
		_ = split.feed(buf[:n]) // put has no error
	}
	_ = split.flush()
	if errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed) {
		err = nil
	}
	q.mu.Lock()
	q.ended, q.err = true, err
	q.mu.Unlock()
	signal(q.more)
}

// put adds a line, or counts it as lost where there is no room for it in time.
func (q *queue) put(l Line) error {
	if q.add(l, q.patience > 0) {
		return nil
	}
	late := time.NewTimer(q.patience)
	defer late.Stop()
	for {
		select {
		case <-q.room:
			if q.add(l, true) {
				return nil
			}
		case <-late.C:
			q.add(l, false)
			return nil
		}
	}
}

// add adds a line or counts it as lost, unless it can wait for room: then it
// reports false. Once a line is lost those that follow are, until the queue is
// empty: a gap is one stretch.
func (q *queue) add(l Line, canWait bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch full := q.size > 0 && q.size+len(l.Bytes)+lineCost > maxQueue; {
	case full && canWait && q.lost.Lines == 0:
		return false
	case full || q.lost.Lines > 0:
		q.lost.Lines++
		q.lost.Bytes += l.Size
		return true
	}
	l.Bytes = append([]byte(nil), l.Bytes...)
	q.lines = append(q.lines, l)
	q.size += len(l.Bytes) + lineCost
	signal(q.more)
	return true
}

func signal(ch chan<- struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// take gives the next line; else, where lines were lost, the gap; else whether
// the stream has ended.
func (q *queue) take() (l Line, gap Gap, ok, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case len(q.lines) > 0:
		l = q.lines[0]
		q.lines[0].Bytes = nil
		q.lines = q.lines[1:]
		q.size -= len(l.Bytes) + lineCost
		signal(q.room)
		return l, Gap{}, true, false
	case q.lost.Lines > 0:
		gap = q.lost
		q.lost = Gap{}
		return Line{}, gap, true, false
	}
	return Line{}, Gap{}, false, q.ended
}

// empty hands on lines until the stream or ctx ends.
func (q *queue) empty(ctx context.Context, cfg Config, h Handler) error {
	for ctx.Err() == nil {
		l, gap, ok, ended := q.take()
		switch {
		case ok:
			if err := handOn(l, gap, cfg, h); err != nil {
				return err
			}
		case ended:
			return nil
		default:
			select {
			case <-ctx.Done():
			case <-q.more:
			}
		}
	}
	return nil
}

// rest hands on what is queued.
func (q *queue) rest(cfg Config, h Handler) error {
	for {
		l, gap, ok, _ := q.take()
		if !ok {
			return nil
		}
		if err := handOn(l, gap, cfg, h); err != nil {
			return err
		}
	}
}

func handOn(l Line, gap Gap, cfg Config, h Handler) error {
	if gap.Lines == 0 {
		return h.Line(l)
	}
	gap.File, gap.Why = cfg.Path, fmt.Sprintf("%d lines came while the queue of %d bytes was full: what takes them was too slow", gap.Lines, maxQueue)
	h.Gap(gap)
	return nil
}
