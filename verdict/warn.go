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
	for _, d := range rec.Damage {
		j.warnf("the recording is damaged: %s", d)
	}
	if rec.More > 0 {
		j.warnf("the recording is damaged in %s", count(rec.More, "more line"))
	}
	if first := rec.Records[0].N; first > 1 {
		j.warnf("what is judged begins with record %d: the segments before were removed, or are more than is loaded", first)
	}
	if rec.Older > 0 && j.series.any() {
		j.warnf("%s are more than is loaded", count(rec.Older, "older snapshot"))
	}
	if rec.Gone > 0 {
		j.warnf("%s removed while they were read", count(rec.Gone, "snapshot"))
	}
	if n := len(rec.Unread); n > 0 {
		j.warnf("%s beside the snapshots can't be read, the first %q: what was seen then is not judged", count(n, "recording"), rec.Unread[0])
	}
	if n := unended(rec); n > 0 {
		j.warnf("%s without an end: killed, or cut off by a full disk", count(n, "snapshot"))
	}
	for _, s := range rec.Header().Merged {
		if s.Offset != 0 && s.ClockError != nil {
			j.warnf("the clock of host %s was joined by its wall clock, which was off by %s at most", s.Host, *s.ClockError)
		} else if s.Offset != 0 {
			j.warnf("the clock of host %s was joined by its wall clock, and nothing is known to have kept that right: its times may be off against the others'", s.Host)
		}
	}
	for _, h := range rec.Holes {
		j.warnf("%s missing after number %d", count(h.Missing, "record"), h.After)
	}
	unknown := map[string]bool{}
	for _, k := range rec.Records {
		switch {
		case k.Gap != nil:
			j.warnf("record %d: %s lost %s: %s", k.N, k.Gap.Source, lost(*k.Gap), k.Gap.Why)
		case k.Clock != nil:
			j.warnf("record %d: the wall clock stepped by %s", k.N, k.Clock.Step)
		case k.Unknown != nil && !unknown[k.Unknown.Kind]:
			unknown[k.Unknown.Kind] = true
			j.warnf("records of the unknown kind %q were left out: a newer halfopen knows them", k.Unknown.Kind)
		}
	}
	switch {
	case j.end == nil:
		j.warnf("the recording has no end: the recorder was killed, or the file was cut; the last record is of %s", j.clock(j.last.Mono))
	case j.end.Reason != "done":
		why := j.end.Reason
		if j.end.Error != "" {
			why += ": " + j.end.Error
		}
		j.warnf("the recording was ended early: %s", why)
	}
	j.warnFailures()
}

// warnFailures gives a line a source: how often it could not be read, and why at
// first.
func (j *judge) warnFailures() {
	times := map[string]int{}
	for _, f := range j.failures {
		times[f.body.Source]++
	}
	for _, f := range j.failures {
		if n := times[f.body.Source]; n > 0 {
			j.warnf("%s: %s failed, first in record %d: %s", f.body.Source, count(n, "reading"), f.n, f.body.Error)
			times[f.body.Source] = 0
		}
	}
}

// lost is how much a gap stands for, in the unit of what is missing.
func lost(g timeline.Gap) string {
	switch {
	case g.Lines > 0:
		return count(g.Lines, "line")
	case g.Lost < 0:
		return "an unknown amount"
	case g.File != "":
		return count(g.Lost, "byte")
	}
	return count(g.Lost, "record")
}
