package verdict

import (
	"slices"
	"time"

	"halfopen/beatstats"
	"halfopen/timeline"
)

// Series says that a recording is a series of snapshots: nothing between them was
// seen.
type Series struct {
	Snapshots int `json:"snapshots"`
	// Every is the usual time between two of them, the median; absent of one alone.
	Every time.Duration `json:"every_ns,omitempty"`
	// Stalled is how many snapshots in a row, the last among them, show the stall on
	// the same connection; two prove it without the kernel's reckoning. Absent where
	// there is no stall.
	Stalled int `json:"stalled,omitempty"`
}

// series is where the snapshots of a shipper lie. The zero series has none.
type series struct {
	spans []span
	every time.Duration
}

// span is a snapshot, by the monotonic clock.
type span struct{ from, to time.Duration }

// seriesOf finds the snapshots of a shipper. A recording may hold another host's too,
// which say nothing of it.
func seriesOf(rec *timeline.Recording, shipper string) (s series) {
	h := rec.Header()
	if h.Merged == nil && h.Snapshot {
		s.spans = []span{{rec.Records[0].Mono, rec.Records[len(rec.Records)-1].Mono}}
		return s
	}
	of := sourcesOf(rec, shipper)
	at := map[int]int{} // places in spans, by source
	for _, k := range rec.Records {
		if !of[k.Source] {
			continue
		}
		i, known := at[k.Source]
		if !known {
			i = len(s.spans)
			at[k.Source], s.spans = i, append(s.spans, span{from: k.Mono})
		}
		s.spans[i].to = k.Mono
	}
	var between []time.Duration
	for i := 1; i < len(s.spans); i++ {
		between = append(between, s.spans[i].from-s.spans[i-1].from)
	}
	if len(between) > 0 {
		slices.Sort(between)
		s.every = between[len(between)/2]
	}
	return s
}

// sourcesOf are the snapshots of the host and the experiment that have a place: also
// those in which it is missing, which end what was seen of it before.
func sourcesOf(rec *timeline.Recording, place string) map[int]bool {
	type key struct{ host, experiment string }
	keys := map[int]key{} // by source
	has := map[key]bool{}
	merged := rec.Header().Merged
	for _, k := range rec.Records {
		if k.Header == nil || k.Source < 1 || k.Source > len(merged) || !merged[k.Source-1].Snapshot {
			continue
		}
		of := key{merged[k.Source-1].Host, k.Header.Experiment}
		keys[k.Source] = of
		has[of] = has[of] || slices.ContainsFunc(k.Header.Places, func(p timeline.Place) bool { return p.Name == place })
	}
	of := map[int]bool{}
	for source, k := range keys {
		of[source] = has[k]
	}
	return of
}

func (s series) any() bool { return len(s.spans) > 0 }

// last is when the last snapshot began. What was read before is not of it.
func (s series) last() time.Duration {
	if !s.any() {
		return 0
	}
	return s.spans[len(s.spans)-1].from
}

// unended counts the snapshots of a series that have no last record.
func unended(rec *timeline.Recording) (n int) {
	ended := map[int]bool{} // of those that were read
	for _, k := range rec.Records {
		ended[k.Source] = ended[k.Source] || k.End != nil
	}
	for i, s := range rec.Header().Merged {
		if has, read := ended[i+1]; s.Snapshot && read && !has {
			n++
		}
	}
	return n
}

// bootOf is the boot that a record is of, "" where that is not known.
func bootOf(h *timeline.Header, k timeline.Record) string {
	if k.Source < 1 || k.Source > len(h.Merged) {
		return ""
	}
	return h.Merged[k.Source-1].BootID
}

// stands is since when the acks are known to stand with work waiting, up to the i-th
// reading of the counters: the first of the unbroken run of readings that say so.
// Between two snapshots work may have come and gone; what waits in both, with the
// same number of acks, has waited all the time.
func (r *run) stands(i int) time.Duration {
	waits := func(i int) bool {
		p := r.acks[i].body.Sample.Pending
		return p.OK() && p.N > 0
	}
	for ; i > 0 && waits(i) && waits(i-1); i-- {
		a, b := r.acks[i-1].body.Sample, r.acks[i].body.Sample
		if _, restarted := beatstats.Epoch(a, b); restarted || !beatstats.SameBase(a, b) || !a.Acked.OK() || !b.Acked.OK() || a.Acked.N != b.Acked.N {
			break
		}
	}
	return r.acks[i].at
}

// standsUntil is stands for the reading at a time.
func (r *run) standsUntil(t time.Duration) time.Duration {
	i := slices.IndexFunc(r.acks, func(a reading[*timeline.Stats]) bool { return a.at == t })
	if i < 0 {
		return t
	}
	return r.stands(i)
}

// seenTwice reports whether a connection was there in two snapshots in a row: one
// that came after the last but one may be the shipper's next try.
func (j *judge) seenTwice(c *conn) bool { return c != nil && len(c.seen) > 1 }

// tellSeries notes that the verdict is of snapshots, and how many of them prove the
// stall that began at since.
func (j *judge) tellSeries() {
	if !j.series.any() {
		return
	}
	j.v.Series = &Series{Snapshots: len(j.series.spans), Every: j.series.every}
	if j.conn == nil || j.v.Verdict != Stalled {
		return
	}
	since := j.last.Mono - j.v.Stall.For
	for _, s := range slices.Backward(j.series.spans) {
		inIt := func(x sighting) bool { return x.at >= s.from && x.at <= s.to }
		if since > s.to || !slices.ContainsFunc(j.conn.seen, inIt) {
			break
		}
		j.v.Series.Stalled++
	}
}
