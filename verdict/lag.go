package verdict

import (
	"slices"
	"sort"
	"time"

	"halfopen/beatstats"
	"halfopen/timeline"
)

// Lag is how far behind a shipper is, told from its own counters alone: no file is
// looked at. Its resolution is the time between two readings.
type Lag struct {
	At time.Time `json:"at"` // of the last reading of the counters
	// SinceAck is the time since acked last grew.
	SinceAck *Age `json:"since_ack,omitempty"`
	// Waiting is how many events wait, Oldest how long the first of them has: the
	// queue lets events go in the order in which it took them, so of all that it
	// has taken (published) the last ones wait, and the first of those came with the
	// reading whose published first exceeded what has been let go. Absent where
	// nothing waits, or the counters do not tell.
	Waiting *int64 `json:"waiting,omitempty"`
	Oldest  *Age   `json:"oldest,omitempty"`
	Method  string `json:"method,omitempty"` // how Oldest is known
	// Rates are events acknowledged a second over the last 10 s, 1 m and 5 m, as far
	// as the readings go back.
	Rates []Rate `json:"acked_rates,omitempty"`
	// Full is when the queue is full if no event is acknowledged; absent while acks
	// move, and where the limit is not known.
	Full    *Full    `json:"queue_full,omitempty"`
	Records []uint64 `json:"records,omitempty"` // the reading that showed the last ack, the one of the oldest, and the last
}

// Age is how long ago something was; AtLeast: it was before the first reading.
type Age struct {
	For     time.Duration `json:"for_ns"`
	AtLeast bool          `json:"at_least,omitempty"`
}

// Rate is events a second over a time.
type Rate struct {
	Over      time.Duration `json:"over_ns"`
	PerSecond float64       `json:"per_second"`
}

// Full is when a queue is full.
type Full struct {
	Capacity  int64         `json:"capacity"`
	PerSecond float64       `json:"published_per_second"`
	In        time.Duration `json:"in_ns"`
}

// Meter tells the lag while a run goes on, in bounded memory, and afterwards. The
// zero value is ready.
type Meter struct {
	lives   beatstats.Lives
	points  []point
	last    *beatstats.Sample
	lastAck int // index into points; 0: before the first
	moved   bool
}

// point is what a reading adds to the counters' course.
type point struct {
	at        time.Duration // monotonic
	n         uint64
	epoch     int   // restarts before it
	acked     int64 // since the first reading, over restarts
	published int64 // since the start of the epoch; -1: not known
}

// maxPoints is more than an hour of readings a second. Beyond it every other one
// of the older half is given up, which halves its resolution.
const maxPoints = 4096

// Add takes a reading of the counters.
func (m *Meter) Add(at time.Duration, n uint64, s beatstats.Sample) {
	if m.last != nil && m.last.Kind != s.Kind {
		return // another service answers at the address: no counters of the shipper's
	}
	s, _ = m.lives.Next(s)
	p := point{at: at, n: n, published: -1}
	if s.Published.OK() {
		p.published = s.Published.N
	}
	if len(m.points) > 0 {
		prev := m.points[len(m.points)-1]
		p.epoch, p.acked = prev.epoch, prev.acked
		_, restarted := beatstats.Epoch(*m.last, s)
		another := !beatstats.SameBase(*m.last, s)
		if restarted || another {
			p.epoch++
		}
		if s.Acked.OK() {
			switch {
			case restarted:
				p.acked += s.Acked.N
			case another:
			case m.last.Acked.OK():
				p.acked += max(0, s.Acked.N-m.last.Acked.N)
			}
		}
	}
	m.points = append(m.points, p)
	if k := len(m.points) - 1; k > 0 && p.acked > m.points[k-1].acked {
		m.lastAck, m.moved = k, true
	}
	if !s.Acked.OK() && m.last != nil {
		s.Acked = m.last.Acked
	}
	m.last = &s
	if len(m.points) > maxPoints {
		m.thin()
	}
}

// thin gives up every other point of the older half, but for the one that showed
// the last ack.
func (m *Meter) thin() {
	kept := m.points[:0]
	half := len(m.points) / 2
	lastAck := m.lastAck
	for i, p := range m.points {
		if i > 0 && i < half && i%2 == 1 && i != lastAck && p.epoch == m.points[i+1].epoch {
			continue
		}
		if i == lastAck {
			m.lastAck = len(kept)
		}
		kept = append(kept, p)
	}
	m.points = kept
}

// rateOver are the times that a rate is given for.
var rateOver = []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute}

// Lag is how far behind the shipper is at a monotonic time not before the last
// reading. It is false where there is none.
func (m *Meter) Lag(now time.Duration) (l Lag, ok bool) {
	if len(m.points) == 0 {
		return Lag{}, false
	}
	last := m.points[len(m.points)-1]
	if m.last.Acked.OK() {
		ack := m.points[m.lastAck]
		l.SinceAck = &Age{For: now - ack.at, AtLeast: !m.moved}
		l.Records = append(l.Records, ack.n)
		for _, over := range rateOver {
			if r, ok := m.rate(over, func(p point) int64 { return p.acked }); ok {
				l.Rates = append(l.Rates, r)
			}
		}
	}
	if m.last.Pending.OK() {
		l.Waiting = &m.last.Pending.N
	}
	if i, method, ok := m.oldest(); ok {
		p := m.points[i]
		l.Method = method
		l.Oldest = &Age{For: now - p.at, AtLeast: i == 0 || m.points[i-1].epoch != p.epoch}
		l.Records = append(l.Records, p.n)
	}
	l.Full = m.full(now)
	l.Records = slices.Compact(append(l.Records, last.n))
	return l, true
}

// oldest is the reading with which the first of the waiting events came.
func (m *Meter) oldest() (index int, method string, ok bool) {
	last := m.points[len(m.points)-1]
	if last.published < 0 {
		return 0, "", false
	}
	var gone int64 // events of this epoch that no longer wait
	switch s := m.last; {
	case s.Pending.OK():
		gone, method = last.published-s.Pending.N, "published - pending"
	case s.Acked.OK() && s.Dropped.OK():
		gone, method = s.Acked.N+s.Dropped.N, "acked + dropped"
	case s.Acked.OK():
		gone, method = s.Acked.N, "acked"
	}
	if method == "" || gone >= last.published {
		return 0, "", false
	}
	i := sort.Search(len(m.points), func(i int) bool {
		p := m.points[i]
		return p.epoch == last.epoch && p.published > gone
	})
	return i, "the reading whose published first exceeded " + method + " of the last", i < len(m.points)
}

// rate is how fast a course grew over the time before the last reading; false
// where the readings do not go back so far.
func (m *Meter) rate(over time.Duration, course func(point) int64) (Rate, bool) {
	last := m.points[len(m.points)-1]
	i := sort.Search(len(m.points), func(i int) bool { return m.points[i].at > last.at-over }) - 1
	if i < 0 {
		return Rate{}, false
	}
	first := m.points[i]
	if last.at-first.at > 2*over {
		return Rate{}, false // the readings are too far apart to tell
	}
	return Rate{Over: over, PerSecond: float64(course(last)-course(first)) / (last.at - first.at).Seconds()}, true
}

// full is when the queue is full at the rate of the last minute, or of what there
// is of it.
func (m *Meter) full(now time.Duration) *Full {
	s, last := m.last, m.points[len(m.points)-1]
	ack := m.points[m.lastAck]
	if !s.Pending.OK() || !s.Capacity.OK() || s.Pending.N == 0 || s.Pending.N >= s.Capacity.N || now-ack.at < ackedLately {
		return nil
	}
	i := sort.Search(len(m.points), func(i int) bool { return m.points[i].at >= last.at-time.Minute && m.points[i].epoch == last.epoch })
	if i == len(m.points) || m.points[i].published < 0 || last.published <= m.points[i].published || last.at <= m.points[i].at {
		return nil
	}
	f := &Full{Capacity: s.Capacity.N}
	f.PerSecond = float64(last.published-m.points[i].published) / (last.at - m.points[i].at).Seconds()
	in := float64(s.Capacity.N-s.Pending.N) / f.PerSecond
	if in > farAway.Seconds() {
		return nil
	}
	f.In = max(0, time.Duration(in*float64(time.Second))-(now-last.at))
	return f
}

// ackedLately is how recent an ack must be for a queue not to be on its way to
// being full: Filebeat flushes once a second, and its counters are read as often.
const ackedLately = 5 * time.Second

// PublishedPerSecond is how many events a second the shipper of a recording took
// in, over the longest time between two of its restarts. It is false where the
// recording does not tell.
func PublishedPerSecond(rec *timeline.Recording) (float64, bool) {
	var m Meter
	shipper := rec.Header().Shipper()
	for _, k := range rec.Records {
		if k.Stats != nil && k.Stats.At == shipper {
			m.Add(k.Mono, k.N, k.Stats.Sample)
		}
	}
	var longest time.Duration
	rate, ok := 0.0, false
	first := 0
	for i, p := range m.points {
		if p.epoch != m.points[first].epoch || m.points[first].published < 0 {
			first = i
		}
		from := m.points[first]
		if d := p.at - from.at; d > longest && p.published > from.published && from.published >= 0 {
			longest, rate, ok = d, float64(p.published-from.published)/d.Seconds(), true
		}
	}
	return rate, ok
}
