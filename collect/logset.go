package collect

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"halfopen/logtail"
)

// LogSet is what the logs of a recording have in common. The zero LogSet is the
// table of patterns, and no positions.
type LogSet struct {
	// Positions, where set, say where each log goes on. They are saved after the
	// copies are on the disk, by fsync(2): a saved position never stands for a line
	// that a crash of the host could take from the evidence, nor for one that the
	// disk did not take, unless a gap tells of it.
	Positions *logtail.Positions
	Matcher   *logtail.Matcher // nil: the table of patterns alone

	mu     sync.Mutex
	copies []*logCopy
	saved  time.Time
	failed bool
	torn   bool // a copy ended without all of its lines: positions stay as they are
}

// saveEvery is how often positions are brought to the disk.
const saveEvery = 5 * time.Second

// matcher is the table of patterns where no other was given.
func (s *LogSet) matcher() *logtail.Matcher {
	if s.Matcher != nil {
		return s.Matcher
	}
	m, err := logtail.NewMatcher(nil)
	if err != nil {
		panic(err) // there is no rule that could be wrong
	}
	return m
}

// add takes a copy into the set. Done closes it, and saves the positions if all
// of its lines are on the disk.
func (s *LogSet) add(ctx context.Context, rec *Recorder, c *logCopy) (done func()) {
	if s.Positions == nil {
		return func() { c.close() }
	}
	s.mu.Lock()
	s.copies = append(s.copies, c)
	s.mu.Unlock()
	saving, stop := context.WithCancel(ctx)
	var saver sync.WaitGroup
	saver.Go(func() { every(saving, saveEvery, func() { s.save(rec, saveEvery/2) }) })
	return func() {
		stop()
		saver.Wait()
		err := c.flush()
		c.close()
		s.mu.Lock()
		s.copies = slices.DeleteFunc(s.copies, func(o *logCopy) bool { return o == c })
		if err != nil && !s.torn {
			s.torn = true
			rec.Fail("positions of the logs", 0, fmt.Errorf("they stay as they were saved last: %w", err))
		}
		s.mu.Unlock()
		s.save(rec, 0)
	}
}

// save saves the positions, unless that was done within age.
func (s *LogSet) save(rec *Recorder, age time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.torn || time.Since(s.saved) < age {
		return
	}
	err := s.Positions.Save(func() error {
		for _, c := range s.copies {
			if err := c.flush(); err != nil {
				return err
			}
		}
		return nil
	})
	s.saved = time.Now()
	if err != nil && !s.failed {
		rec.Fail("positions of the logs", 0, err)
	}
	s.failed = err != nil
}
