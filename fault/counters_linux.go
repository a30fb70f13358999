package fault

import (
	"fmt"
	"slices"
	"time"
)

// Counters reads what each rule has met, those of former steps included, in the
// order in which they came into force. How well the first and the last packet
// are known depends on how often it is called. After Undo it returns the last
// values.
func (f *Fault) Counters() ([]Counter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.readCounters()
	return f.list(), err
}

func (f *Fault) list() (list []Counter) {
	for _, r := range f.rules {
		if c, ok := f.counters[r.counter()]; ok {
			list = append(list, c)
		}
	}
	return list
}

func (f *Fault) readCounters() error {
	if f.undone {
		return nil
	}
	objs, err := f.table.counters()
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	for _, r := range f.rules {
		if !r.counts() {
			continue
		}
		o, ok := objs[r.counter()]
		if !ok {
			return fmt.Errorf("table %q has no counter %q", f.plan.table, r.counter())
		}
		c := Counter{Rule: r.text(f.plan.target()), Direction: r.direction, Step: r.step, Packets: o.Packets, Bytes: o.Bytes}
		was := f.counters[r.counter()]
		c.First, c.Last = was.First, was.Last
		if c.Packets > was.Packets {
			seen := Seen{After: f.since(r.step), By: now}
			if c.Last = seen; was.Packets == 0 {
				c.First = seen
			}
		}
		f.counters[r.counter()] = c
	}
	f.read = now
	return nil
}

// since is when a counter of a step was known before: at its last reading, or
// zero packets, when the step was taken.
func (f *Fault) since(step string) time.Time {
	i := slices.IndexFunc(f.steps, func(s Step) bool { return s.Name == step })
	if start := f.steps[i].Start; f.read.Before(start) {
		return start
	}
	return f.read
}
