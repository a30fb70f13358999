package fault

import (
	"time"

	"halfopen/flow"
)

// Window is the story of a fault: when the path was cut and opened again, how
// that is known, and what was really dropped. Its first step is the cut, but for that of a
// proxy.
type Window struct {
	Method string     // the user's name for it
	Table  string     // of nf_tables, "inet halfopen-4242-1"; empty if no rules were made
	Netns  uint64     // inode of the network namespace; 0 is not known
	Ports  flow.Ports // that the rules are about; empty if they name a connection, or everything
	Setup  []string   // how the table was made, as commands of nft(8)
	Steps  []Step     // in order of time

	// Counters are those of the rules in Steps, in their order, as they stood
	// at Read. Error says why they are older than the story, if they are.
	Counters []Counter
	Read     time.Time
	Error    string

	Withheld *Withheld // by a proxy of ours; nil: the method has none
}

// Withheld is what a proxy of ours did not pass on, and told its clients instead.
type Withheld struct {
	Acks         uint64 // ACKs of sequence 0
	Toward, From uint64 // bytes, to a watched port and from it
}

// first is where the first step is that meets something: a proxy's comes ahead.
func (w Window) first() int {
	if len(w.Steps) > 0 && w.Steps[0].Name == StepProxy {
		return 1
	}
	return 0
}

// Start is the moment from which the path was surely cut; ok is false if it
// never was.
func (w Window) Start() (start time.Time, ok bool) {
	i := w.first()
	if len(w.Steps) <= i || w.Steps[i].Name == StepUndo {
		return time.Time{}, false
	}
	return w.Steps[i].End, true
}

// End is the moment until which the path was surely cut; ok is false while it
// still is. After the steps forget and hold it stays closed to the connections of
// before.
func (w Window) End() (end time.Time, ok bool) {
	next := w.first() + 1
	if len(w.Steps) <= next {
		return time.Time{}, false
	}
	return w.Steps[next].Start, true
}

// Held is the time for which the rules of step i were surely in force, by the
// monotonic clock; ok is false while they still are.
func (w Window) Held(i int) (held time.Duration, ok bool) {
	if i+1 >= len(w.Steps) {
		return 0, false
	}
	s := w.Steps[i]
	return w.Steps[i+1].Mono - s.Mono - s.Took, true
}

// Dropped is what the rules of one step dropped one way.
func (w Window) Dropped(step string, d Direction) (packets, bytes uint64) {
	for _, c := range w.Counters {
		if c.Step == step && c.Direction == d {
			packets += c.Packets
			bytes += c.Bytes
		}
	}
	return packets, bytes
}

// Met is when the first and the last packet came that the rules of a step met;
// ok is false if none did, or if that was not written down.
func (w Window) Met(step string) (first, last Seen, ok bool) {
	for _, c := range w.Counters {
		if c.Step != step || c.First == (Seen{}) {
			continue
		}
		if !ok || c.First.By.Before(first.By) {
			first = c.First
		}
		if !ok || c.Last.By.After(last.By) {
			last = c.Last
		}
		ok = true
	}
	return first, last, ok
}
