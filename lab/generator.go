package lab

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Generator is the growing log: numbered lines, Rate a second.
type Generator struct {
	Path string
	Rate int

	mu     sync.Mutex
	paused bool
	burst  int // lines to be written at once
	n      int // lines written
}

// Pause stops the growth until Resume; what it left out is not made up for.
func (g *Generator) Pause() { g.set(true) }

// Resume lets the log grow again.
func (g *Generator) Resume() { g.set(false) }

func (g *Generator) set(paused bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paused = paused
}

// Burst writes lines at once, each with a long tail that does not compress.
func (g *Generator) Burst(lines int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.burst += lines
}

// Lines is how many have been written.
func (g *Generator) Lines() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}

// Run writes until ctx ends.
func (g *Generator) Run(ctx context.Context) error {
	f, err := os.OpenFile(g.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("open the generated log: %w", err)
	}
	defer f.Close()
	// At high rates one tick writes several lines.
	tick := time.NewTicker(max(time.Second/time.Duration(g.Rate), 10*time.Millisecond))
	defer tick.Stop()
	last, due := time.Now(), 0.
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			due += now.Sub(last).Seconds() * float64(g.Rate)
			last = now
			if due, err = g.write(f, now, due); err != nil {
				return fmt.Errorf("write the generated log: %w", err)
			}
		}
	}
}

// write writes what is due and returns the rest: part of a line.
func (g *Generator) write(f *os.File, now time.Time, due float64) (rest float64, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.paused {
		due = 0
	}
	for ; due >= 1 || g.burst > 0; g.n++ {
		tail := ""
		if due >= 1 {
			due--
		} else {
			tail = noise()
			g.burst--
		}
		if _, err := fmt.Fprintf(f, "%s %s%d of a log that a shipper reads%s\n", now.UTC().Format(time.RFC3339Nano), lineMark, g.n+1, tail); err != nil {
			return 0, err
		}
	}
	return due, nil
}
