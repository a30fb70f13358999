package container

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxPlace is how many of the last lines a place names.
const maxPlace = 64

// place is behind a line of an engine's copy of the output, so that a later Logs
// goes on there. An engine counts neither lines nor bytes, so a line is known by
// its sum; it is looked for from a time on.
type place struct {
	since  time.Time // ask for lines taken from then on; zero: for all
	newest time.Time // of the lines before the place
	sums   []uint64  // of the last of them, in their order
}

// place is that behind the line that was handed on last. ok is false before there
// is one, where reading began with the last lines.
func (m *recent) place() (p place, ok bool) {
	n := len(m.ring)
	if n == 0 {
		return place{since: m.from.Since}, m.from.Last == 0
	}
	p.since, p.newest = m.newest, m.newest
	for i := max(0, n-maxPlace); i < n; i++ {
		h := m.ring[(m.next+i)%n] // next is the oldest
		p.sums = append(p.sums, h.sum)
		if h.at.Before(p.since) { // not in the order of their times, perhaps
			p.since = h.at
		}
	}
	if !p.since.IsZero() { // else a line's time could not be read: all are asked for
		p.since = p.since.Add(-slack)
	}
	return p, true
}

// resume goes on behind a place.
func (m *recent) resume(p place) {
	m.from = LogStart{Since: p.since}
	for _, sum := range p.sums {
		m.remember(handed{sum, p.since.Add(slack)})
	}
	m.newest = p.newest
}

// String is what parsePlace reads: two times and the sums.
func (p place) String() string {
	var b strings.Builder
	b.WriteString(p.since.UTC().Format(time.RFC3339Nano))
	b.WriteByte(' ')
	b.WriteString(p.newest.UTC().Format(time.RFC3339Nano))
	for _, sum := range p.sums {
		b.WriteByte(' ')
		b.WriteString(strconv.FormatUint(sum, 36))
	}
	return b.String()
}

func parsePlace(s string) (p place, err error) {
	parts := strings.Split(s, " ")
	if len(parts) < 2 || len(parts) > 2+maxPlace {
		return place{}, errors.New("want two times and sums of lines")
	}
	for i, at := range []*time.Time{&p.since, &p.newest} {
		if *at, err = time.Parse(time.RFC3339Nano, parts[i]); err != nil {
			return place{}, fmt.Errorf("time %.40q: want such as 2026-11-21T12:00:00Z", parts[i])
		}
		if *at = at.UTC(); at.Year() < 1 || at.Year() > 9999 { // which String could not write
			return place{}, fmt.Errorf("time %.40q: want a year of four digits", parts[i])
		}
	}
	for _, s := range parts[2:] {
		sum, err := strconv.ParseUint(s, 36, 64)
		if err != nil {
			return place{}, fmt.Errorf("sum %.40q: want a number of base 36", s)
		}
		p.sums = append(p.sums, sum)
	}
	return p, nil
}
