package verdict

import (
	"fmt"

	"halfopen/timeline"
)

func (j *judge) warnf(format string, args ...any) {
	j.v.Warnings = append(j.v.Warnings, fmt.Sprintf(format, args...))
}

// warn lists what the reader of the verdict must know about the recording.
func (j *judge) warn(rec *timeline.Recording) {
	add := func(format string, args ...any) { j.v.Warnings = append(j.v.Warnings, fmt.Sprintf(format, args...)) }
	for _, d := range rec.Damage {
		add("the recording is damaged: %s", d)
	}
	if rec.More > 0 {
		add("the recording is damaged in %s more", count(rec.More, "line"))
	}
	if first := rec.Records[0].N; first > 1 {
		add("what is judged begins with record %d: the segments before were removed, or are more than is loaded", first)
	}
	for _, s := range rec.Header().Merged {
		if s.Offset != 0 && s.ClockError != nil {
			add("the clock of host %s was joined by its wall clock, which was off by %s at most", s.Host, *s.ClockError)
		} else if s.Offset != 0 {
			add("the clock of host %s was joined by its wall clock, and nothing is known to have kept that right: its times may be off against the others'", s.Host)
		}
	}
	for _, h := range rec.Holes {
		add("%s missing after number %d", count(h.Missing, "record"), h.After)
	}
	unknown := map[string]bool{}
	for _, k := range rec.Records {
		switch {
		case k.Gap != nil:
			add("record %d: %s lost %d: %s", k.N, k.Gap.Source, k.Gap.Lost, k.Gap.Why)
		case k.Clock != nil:
			add("record %d: the wall clock stepped by %s", k.N, k.Clock.Step)
		case k.Unknown != nil && !unknown[k.Unknown.Kind]:
			unknown[k.Unknown.Kind] = true
			add("records of the unknown kind %q were left out: a newer halfopen knows them", k.Unknown.Kind)
		}
	}
	switch {
	case j.end == nil:
		add("the recording has no end: the recorder was killed, or the file was cut; the last record is of %s", j.clock(j.last.Mono))
	case j.end.Reason != "done":
		why := j.end.Reason
		if j.end.Error != "" {
			why += ": " + j.end.Error
		}
		add("the recording was ended early: %s", why)
	}
	j.warnFailures(add)
}

// warnFailures gives a line a source: how often it could not be read, and why at
// first.
func (j *judge) warnFailures(add func(format string, args ...any)) {
	times := map[string]int{}
	for _, f := range j.failures {
		times[f.body.Source]++
	}
	for _, f := range j.failures {
		if n := times[f.body.Source]; n > 0 {
			add("%s: %s failed, first in record %d: %s", f.body.Source, count(n, "reading"), f.n, f.body.Error)
			times[f.body.Source] = 0
		}
	}
}
