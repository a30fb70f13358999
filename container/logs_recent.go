package container

import (
	"hash/fnv"
	"io"
	"maps"
	"time"
)

// maxRecent is how many lines are remembered, as 8 bytes each and their times.
const maxRecent = 4096

// recent remembers the lines handed on last, so that an answer of the engine's
// that begins before the end of the one before brings none of them twice. Times
// alone would not do: stdout and stderr are stamped apart, and their lines may
// come in another order than their times'.
type recent struct {
	from    LogStart
	ring    []handed // of maxRecent, next is the oldest
	next    int
	count   map[uint64]int // by sum
	dropped time.Time      // the newest that is no longer in the ring
	newest  time.Time      // of all
	last    uint64
	again   map[uint64]int // those that this answer should begin with; nil once a new one has come
	met     bool           // one of them has come
}

type handed struct {
	sum uint64
	at  time.Time
}

func newRecent(from LogStart) recent {
	return recent{from: from, count: map[uint64]int{}}
}

// slack is for lines that are out of order, and for Podman, which counts in
// floating point.
const slack = time.Millisecond

// begin says where the next answer has to begin: before the oldest line that is
// remembered.
func (m *recent) begin() LogStart {
	if len(m.ring) > 0 {
		m.again, m.met = maps.Clone(m.count), false
	}
	if !m.dropped.IsZero() {
		return LogStart{Since: m.dropped.Add(-slack)}
	}
	return m.from
}

// take tells whether a line is new. An answer begins with lines from before
// those that are remembered, then has those, then new ones. lost: the one that
// was handed on last is not there, so that others behind it may be gone too.
func (m *recent) take(o Output) (fresh, lost bool) {
	sum := sum(o)
	if m.again != nil {
		switch {
		case m.again[sum] > 0:
			m.again[sum]--
			m.met = true
			return false, false
		case !m.met && !o.Time.After(m.newest):
			return false, false
		}
		lost = m.again[m.last] == m.count[m.last]
		m.again = nil // the rest of the answer is new
	}
	if m.from.Last > 0 { // what is behind the first of them is all there is to read
		m.from = LogStart{Since: o.Time.Add(-slack)}
	}
	m.remember(handed{sum, o.Time})
	return true, lost
}

// ended notes that an answer that began at that time is over: if there was no
// line to count the last ones from, the next answer's are new.
func (m *recent) ended(began time.Time) {
	if m.from.Last > 0 {
		m.from = LogStart{Since: began}
	}
}

func (m *recent) remember(h handed) {
	if len(m.ring) < maxRecent {
		m.ring = append(m.ring, h)
	} else {
		old := m.ring[m.next]
		if m.count[old.sum]--; m.count[old.sum] == 0 {
			delete(m.count, old.sum)
		}
		if old.at.After(m.dropped) {
			m.dropped = old.at
		}
		m.ring[m.next] = h
		m.next = (m.next + 1) % maxRecent
	}
	m.count[h.sum]++
	m.last = h.sum
	if h.at.After(m.newest) {
		m.newest = h.at
	}
}

// sum tells a line from others, in a later run too.
func sum(o Output) uint64 {
	h := fnv.New64a() // whose writes never fail
	_, _ = io.WriteString(h, o.RawTime)
	_, _ = io.WriteString(h, o.Stream)
	if o.Partial {
		_, _ = h.Write([]byte{1})
	}
	_, _ = h.Write(o.Text)
	return h.Sum64()
}
