package verdict

import (
	"fmt"
	"slices"
	"time"

	"halfopen/beatstats"
	"halfopen/timeline"
)

// steady is a reading of the shipper's counters in which those that ran backward
// are marked; what is doubtful in it is kept once, for a warning.
func (r *run) steady(k timeline.Record) *timeline.Stats {
	s := *k.Stats
	s.Sample, _ = r.lives.Next(s.Sample)
	for _, v := range s.Sample.Corrupt() {
		r.doubt(v.Key, fmt.Sprintf("record %d: %s is not used: %s", k.N, v.Key, v.Corrupt))
	}
	if l := s.Sample.Logged; l != nil {
		r.doubt("log", fmt.Sprintf("record %d: the shipper's counters were read from its log, one reading every %s: acks are known no better than that", k.N, l.Period))
	}
	for _, note := range s.Sample.Notes {
		r.doubt(note, fmt.Sprintf("record %d: the shipper's counters: %s", k.N, note))
	}
	return &s
}

// maxDoubts bounds what a verdict says of counters that are wrong in ever new ways.
const maxDoubts = 16

func (r *run) doubt(about, text string) {
	if len(r.doubts) < maxDoubts && !slices.ContainsFunc(r.doubts, func(d doubt) bool { return d.about == about }) {
		r.doubts = append(r.doubts, doubt{about, text})
	}
}

// doubt is something wrong with the counters; about names it.
type doubt struct{ about, text string }

// slowed adds the time between two readings to the limits that were made for one
// a second: a log tells the counters every 30 s, and snapshots are minutes apart.
// Within that time acks may have moved at any moment. What snapshots show of a stall
// itself is told from one to the other, see stands.
func (t Thresholds) slowed(r *run) Thresholds {
	var period time.Duration
	for _, a := range r.acks {
		if l := a.body.Sample.Logged; l != nil {
			period = max(period, l.Period)
		}
	}
	if r.series.any() {
		t.Fresh += max(period, r.series.every)
		t.Horizon += max(period, r.series.every)
		return t
	}
	t.Fresh += period
	t.Settle += period
	t.Horizon += period
	return t
}

// partial reports whether the counters were read from a log that was not read from
// its beginning: what they counted before is not known.
func (r *run) partial() bool {
	return slices.ContainsFunc(r.acks, func(a reading[*timeline.Stats]) bool {
		l := a.body.Sample.Logged
		return l != nil && l.Since > 0
	})
}

// grown is by how much acked went up between two readings of the same shipper.
func grown(prev, cur beatstats.Sample) int64 {
	_, restarted := beatstats.Epoch(prev, cur)
	switch {
	case restarted:
		return cur.Acked.N
	case !beatstats.SameBase(prev, cur):
		return 0 // they count from different moments: no telling
	}
	return cur.Acked.N - prev.Acked.N
}

// comparable is acked as of t by the last reading whose counters count from the
// same moment as those of the last one; where there is none before, by the first
// of them.
func (r *run) comparable(t time.Duration) (acked int64, n uint64) {
	end := r.acks[len(r.acks)-1].body.Sample
	for _, a := range r.acks {
		if s := a.body.Sample; s.Acked.OK() && beatstats.SameBase(s, end) && (a.at <= t || n == 0) {
			acked, n = s.Acked.N, a.n
		}
	}
	return acked, n
}
