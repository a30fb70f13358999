package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"halfopen/clock"
	"halfopen/flow"
	"halfopen/report"
	"halfopen/sockstate"
	"halfopen/verdict"
)

// visit looks at the shippers of this host. What it has seen may be taken from it
// at any time, whatever hangs.
type visit struct {
	o      *checkupOptions
	began  time.Time
	mono   time.Duration // the same
	asking time.Duration // the most that a reading of all endpoints takes, however long the rest may

	mu     sync.Mutex
	ports  flow.Ports
	wards  []*ward
	owners map[uint32]sockstate.Owner // of the sockets that were seen
	hidden bool                       // not every process could be looked into
	doing  map[string]bool            // what is under way
}

// visit runs one, for --timeout at most. When it returns the process is to end:
// what hangs is not waited for.
func (o *checkupOptions) visit(ctx context.Context) (verdict.Checkup, error) {
	limited, stop := context.WithTimeout(ctx, o.timeout-o.judging())
	defer stop()
	v := &visit{o: o, began: time.Now(), mono: clock.Mono(), asking: asking, owners: map[uint32]sockstate.Owner{}, doing: map[string]bool{}}
	found := v.begin("the search for shippers") // here: the time may be out before the goroutine runs
	done := make(chan error, 1)
	go func() { done <- v.run(limited, found) }()
	var err error
	select {
	case err = <-done:
	case <-limited.Done():
		err = limited.Err()
	}
	if err != nil && limited.Err() == nil {
		return verdict.Checkup{}, err
	}
	c := v.judge()
	if err != nil {
		why := fmt.Sprintf("time ran out after %s (--timeout %s, less the time to answer)", report.Span(time.Since(v.began)), o.timeout)
		if ctx.Err() != nil {
			why = "it was interrupted"
		}
		c.Miss(why + v.underWay())
	}
	return c, nil
}

// begin notes what is under way, until the function that it returns is called.
func (v *visit) begin(what string) (end func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.doing[what] = true
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.doing, what)
	}
}

func (v *visit) underWay() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.doing) == 0 {
		return ""
	}
	return ", during: " + strings.Join(slices.Sorted(maps.Keys(v.doing)), ", ")
}

// run searches and calls found; then it takes the readings.
func (v *visit) run(ctx context.Context, found func()) error {
	subjects, named, err := chooseSubjects(ctx, v.o.recordOptions)
	if err != nil {
		return err
	}
	if subjects, err = shippersOf(subjects, named); err != nil {
		return err
	}
	if n := len(v.o.stats); n > len(subjects) {
		return usage("--stats goes with the places in order: %d are given, for %d places", n, len(subjects))
	}
	var wards []*ward
	for _, s := range subjects {
		w, err := v.admit(s)
		if err != nil {
			return err
		}
		defer w.close()
		wards = append(wards, w)
	}
	v.mu.Lock()
	v.wards, v.ports = wards, portsOf(v.o.recordOptions, subjects)
	v.mu.Unlock()
	found()
	return v.rounds(ctx, wards)
}

// rounds takes the readings, and looks for the sockets' owners between them.
func (v *visit) rounds(ctx context.Context, wards []*ward) error {
	v.round(ctx, wards)
	again := time.Now().Add(v.o.over)
	if err := v.identify(); err != nil {
		return err
	}
	if v.o.over == 0 {
		return ctx.Err()
	}
	end := v.begin("the time between the readings")
	if err := wait(ctx, time.Until(again)); err != nil {
		return err
	}
	end()
	v.round(ctx, wards)
	return errors.Join(v.identify(), ctx.Err())
}

const asking = 2 * time.Second

// How many namespaces are read at a time, and how many endpoints are asked: each of
// those may hang, and holds a thread while it is dialled.
const (
	together = 8
	asked    = 64
)

// round takes a reading: of all counters, then of each namespace once. The counters
// come first, so that what they say was sent went out before the sockets were read.
func (v *visit) round(ctx context.Context, wards []*ward) {
	var ask, read errgroup.Group
	ask.SetLimit(asked)
	read.SetLimit(together)
	sights := make([]sight, len(wards))
	seats := map[string][]int{}
	limited, stop := context.WithTimeout(ctx, v.asks())
	defer stop()
	for i, w := range wards {
		seats[w.seat()] = append(seats[w.seat()], i)
		ask.Go(func() error {
			w.ask(limited, v, &sights[i])
			return nil
		})
	}
	_ = ask.Wait() // what failed is in the sights
	for _, there := range seats {
		read.Go(func() error {
			t := wards[there[0]].table(v)
			v.mu.Lock()
			defer v.mu.Unlock()
			for _, i := range there {
				sights[i].table = t
				wards[i].looks = append(wards[i].looks, sights[i])
			}
			return nil
		})
	}
	_ = read.Wait()
}

// identify finds the processes behind the sockets that are new. That is a walk over
// all processes, and needless where a namespace alone was named.
func (v *visit) identify() error {
	v.mu.Lock()
	var fresh []uint32
	if len(v.wards) == 1 && v.wards[0].program.PID == 0 {
		v.mu.Unlock()
		return nil
	}
	for _, w := range v.wards {
		for _, l := range w.looks {
			for _, s := range l.table.sockets {
				if _, known := v.owners[s.Inode]; !known && s.Inode != 0 {
					fresh = append(fresh, s.Inode)
				}
			}
		}
	}
	v.mu.Unlock()
	if slices.Sort(fresh); len(fresh) == 0 {
		return nil
	}
	fresh = slices.Compact(fresh)
	defer v.begin("the search for the processes behind the sockets")()
	own, err := sockstate.Owners("/proc", fresh)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hidden = v.hidden || own.Unreadable > 0
	for _, i := range fresh {
		v.owners[i] = own.ByInode[i] // also where nobody was found: one walk a socket
	}
	return nil
}
