package beatstats

import (
	"fmt"
	"time"
)

// Logged says what the numbers of a sample cover that was made of lines of a
// Beat's log: it tells its counters as what was added since the line before.
type Logged struct {
	// Period is the time from line to line: logging.metrics.period, 30 s by
	// default. Zero: not known, the line is the only one of its life.
	Period time.Duration `json:"period_ns,omitempty"`
	// Since is the uptime at which the adding up began: the counters count from
	// there. Zero: from the start of the service, as those of its endpoint do.
	Since time.Duration `json:"since_ns,omitempty"`
}

// Deltas adds up the counters that a Beat writes to its log. The zero value is
// ready to use.
type Deltas struct {
	life  Sample // as of the last line
	begun bool
}

// Add takes a line of the log, without what a container engine put around it. It
// gives the counters as they stand after it; ok is false for a line that tells
// none. Errors are *Error. A new ephemeral id or a fallen uptime begins anew.
func (d *Deltas) Add(line []byte) (s Sample, ok bool, err error) {
	l, ok, err := parseLogLine(line)
	if !ok || err != nil {
		return Sample{}, false, err
	}
	s = l.Sample
	if d.begun && d.ended(s) {
		*d = Deltas{}
	}
	s.Logged = &Logged{Period: l.period}
	switch {
	case d.begun && !l.total && *s.Uptime == *d.life.Uptime:
		return Sample{}, false, nil // the same line, which another of the program's logs has too
	case l.total:
		if d.begun {
			s.Logged.Period = d.life.Logged.Period
			s.inherit(d.life)
		}
		*d = Deltas{}
		return s, true, nil
	case d.begun:
		s.Logged.Since = d.life.Logged.Since
		s.inherit(d.life)
		s.add(d.life)
		if *s.Uptime > *d.life.Uptime+l.period+l.period/2 {
			s.Notes = append(s.Notes, fmt.Sprintf("lines are missing after an uptime of %v: the counters lack what was counted meanwhile", *d.life.Uptime))
		}
	case *s.Uptime > l.period+l.period/2: // not the first line of its life
		s.Logged.Since = *s.Uptime - l.period
	}
	d.life, d.begun = s, true
	return s, true, nil
}

// ended reports whether a line is of another life.
func (d *Deltas) ended(s Sample) bool {
	return s.ID != "" && d.life.ID != "" && s.ID != d.life.ID || *s.Uptime < *d.life.Uptime
}

// inherit takes over what a line tells only when it has changed.
func (s *Sample) inherit(before Sample) {
	for now, then := range map[*string]string{&s.Name: before.Name, &s.Version: before.Version, &s.Output: before.Output} {
		if *now == "" {
			*now = then
		}
	}
	if s.Capacity == nil {
		s.Capacity = before.Capacity
	}
	if s.CapacityBytes == nil {
		s.CapacityBytes = before.CapacityBytes
	}
}

// add puts the counters of the lines before on top of those of this one.
func (s *Sample) add(before Sample) {
	now, then := s.counters(), before.counters()
	for i := range now {
		total := sum([]*Value{*now[i], *then[i]})
		if total == nil {
			continue
		}
		if *now[i] != nil {
			total.Key = (*now[i]).Key
		} else {
			total.Key = (*then[i]).Key
		}
		*now[i] = total
	}
}
