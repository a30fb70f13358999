package timeline

import (
	"fmt"
	"math"
	"time"
)

// shifted is one of the source's monotonic times in the merged recording.
func (s *source) shifted(mono time.Duration) time.Duration {
	if s.Offset > 0 && mono > math.MaxInt64-s.Offset {
		return math.MaxInt64 // of a hostile file
	}
	return max(0, mono+s.Offset)
}

// records are the next record, before it a Gap where some are missing. What a
// segment only repeats is left out.
func (s *source) records() (out []Record) {
	r := s.next
	if s.last != 0 && r.N > s.last+1 {
		why := fmt.Sprintf("they are missing behind its number %d", s.last)
		out = append(out, s.gap(r.Time, int64(min(r.N-s.last-1, math.MaxInt64)), why))
	}
	s.last, s.ended = r.N, r.End != nil
	repeats := r.Again || r.Header != nil && r.Header.Segment > 1
	if repeats && s.told {
		return out
	}
	s.told = s.told || !repeats && r.Header == nil
	r.Again = false
	return append(out, s.relabel(r))
}

// damage tells at the end of a source what of it could not be read. Of a snapshot
// without an end the judge of the series tells.
func (s *source) damage() (out []Record) {
	first, more := s.series.Damage()
	for _, d := range first {
		out = append(out, s.gap(s.next.Time, -1, "damaged: "+d.String()))
	}
	if more > 0 {
		out = append(out, s.gap(s.next.Time, -1, fmt.Sprintf("damaged: %d more lines", more)))
	}
	if !s.ended && !s.Snapshot {
		out = append(out, s.gap(s.next.Time, -1, "it has no end: the recorder was killed, or the file was cut"))
	}
	return out
}

func (s *source) gap(at time.Time, lost int64, why string) Record {
	g := &Gap{Source: "recording " + s.Recording, Lost: lost, Why: why}
	return Record{Time: at, Mono: s.due, Source: s.index, Body: Body{Gap: g}}
}

// advance reads the source's next record; false at its end.
func (s *source) advance() bool {
	r, err := s.series.Next()
	if err != nil {
		s.series.Close()
		return false
	}
	s.next, s.due = r, max(s.due, s.shifted(r.Mono))
	return true
}

// sourceQueue holds the sources by the time of their next record.
type sourceQueue []*source

func (q sourceQueue) Len() int      { return len(q) }
func (q sourceQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q sourceQueue) Less(i, j int) bool {
	if q[i].due != q[j].due {
		return q[i].due < q[j].due
	}
	return q[i].index < q[j].index
}
func (q *sourceQueue) Push(s any) { *q = append(*q, s.(*source)) }
func (q *sourceQueue) Pop() any {
	old := *q
	s := old[len(old)-1]
	*q = old[:len(old)-1]
	return s
}
