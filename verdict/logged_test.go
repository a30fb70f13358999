package verdict

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/beatstats"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// withStats changes every reading of the counters; false leaves it out. second counts
// from the beginning of the story.
func withStats(rec *timeline.Recording, change func(second int, s *beatstats.Sample) bool) *timeline.Recording {
	rec.Records = slices.DeleteFunc(rec.Records, func(k timeline.Record) bool {
		return k.Stats != nil && !change(int((k.Mono-time.Hour)/time.Second), &k.Stats.Sample)
	})
	for i := range rec.Records {
		rec.Records[i].N = uint64(i + 1)
	}
	return rec
}

// everyHalfMinute leaves the readings that a log gives, counted from the first line
// that was heard.
func everyHalfMinute(base int64) func(int, *beatstats.Sample) bool {
	return func(second int, s *beatstats.Sample) bool {
		s.Logged = &beatstats.Logged{Period: 30 * time.Second, Since: time.Hour}
		s.Acked = &beatstats.Value{N: s.Acked.N - base, Key: "libbeat.output.events.acked"}
		return second%30 == 15
	}
}

// Counters from a log come every 30 s: a judge made for one a second must neither
// take that for a shipper that can't act, nor see more than there is.
func TestJudgeSlowReadings(t *testing.T) {
	// The cut is from second 70 to 80; lines come at 15, 45, 75, 105 …
	slow := func(seconds int, change func(*story)) *timeline.Recording {
		y := stalls()
		y.seconds, y.cut, y.open = seconds, 70, 80
		y.acked = func(s int) int64 { return int64(10 * min(s, 70)) }
		y.pending = func(s int) int64 { return int64(10 * max(0, s-70)) }
		y.canary = func(s int) bool { return s < 70 || s >= 80 }
		sock := y.sock
		y.sock = func(s int) []sockstate.Socket { return sock(s - 60) }
		change(&y)
		return withStats(y.tell(), everyHalfMinute(0))
	}
	none := func(*story) {}
	recovers := func(y *story) {
		y.acked = func(s int) int64 { return int64(10*min(s, 70)) + int64(10*max(0, s-82)) }
		y.sock = func(s int) []sockstate.Socket {
			if s <= 70 || s > 82 {
				return []sockstate.Socket{healthy()}
			}
			return []sockstate.Socket{stuck(s - 70)}
		}
	}
	uncut := func(y *story) { y.cut, y.open = -1, -1 }
	tests := []struct {
		name    string
		rec     *timeline.Recording
		verdict string
		says    string
	}{
		{"stalled", slow(170, none), Reproduced, "stalled for 1m30"},
		{"not watched for long enough", slow(120, none), Inconclusive, "at least 1m0s"},
		{"recovered by itself", slow(200, recovers), Recovered, "a retransmission got through"},
		{"no cut known", slow(170, uncut), Stalled, "no ack for 1m"},
		{"no cut, delivers", slow(170, func(y *story) {
			uncut(y)
			y.acked = func(s int) int64 { return int64(10 * s) }
			y.pending = func(int) int64 { return 0 }
			y.sock = func(int) []sockstate.Socket { return []sockstate.Socket{healthy()} }
		}), NotStalled, "acks moved until the end"},
		{"stalled before it was watched", withStats(slow(170, func(y *story) {
			uncut(y)
			y.acked = func(int) int64 { return 540 }
			y.pending = func(s int) int64 { return int64(s) }
			y.sock = func(s int) []sockstate.Socket { return []sockstate.Socket{stuck(100 + s)} }
		}), everyHalfMinute(540)), Stalled, "no ack for"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := Judge(tt.rec, Defaults())
			if v.Verdict != tt.verdict || !strings.Contains(v.Summary, tt.says) {
				t.Errorf("%s: %s; want %s with %q", v.Verdict, v.Summary, tt.verdict, tt.says)
			}
			if v.Thresholds.Fresh != 35*time.Second || v.Thresholds.Horizon != time.Minute {
				t.Errorf("thresholds %+v do not show how far apart the readings were", v.Thresholds)
			}
		})
	}
}

// A counter that runs backward and comes back has not moved: the way back is no
// progress, and the verdict says which reading was not used.
func TestJudgeCounterRunsBackward(t *testing.T) {
	rec := withStats(stalls().tell(), func(second int, s *beatstats.Sample) bool {
		s.Acked.Key = "libbeat.output.events.acked"
		if second == 40 || second == 41 {
			s.Acked = &beatstats.Value{N: s.Acked.N - 5, Key: s.Acked.Key}
		}
		return true
	})
	v := Judge(rec, Defaults())
	if v.Verdict != Reproduced {
		t.Errorf("%s: %s", v.Verdict, v.Summary)
	}
	warned := slices.DeleteFunc(slices.Clone(v.Warnings), func(w string) bool {
		return !strings.Contains(w, "libbeat.output.events.acked is not used: it ran backward from 100 without a restart")
	})
	if len(warned) != 1 {
		t.Errorf("warnings %q", v.Warnings)
	}
}

// Readings of an endpoint and of a log that was read from somewhere on count from
// different moments: from one to the other nothing is known to have moved.
func TestJudgeEndpointAndLogTakeTurns(t *testing.T) {
	rec := withStats(stalls().tell(), func(second int, s *beatstats.Sample) bool {
		if second >= 12 && second < 60 && second%15 == 0 {
			s.Logged = &beatstats.Logged{Period: 15 * time.Second, Since: time.Hour}
			s.Acked = &beatstats.Value{N: s.Acked.N - 100}
			return true
		}
		return second < 12 || second >= 60
	})
	v := Judge(rec, Defaults())
	if v.Recovery != nil || !strings.Contains(v.Summary, "at least 45s") {
		t.Errorf("%s: %s, %+v", v.Verdict, v.Summary, v.Recovery)
	}
	th := Defaults()
	th.Horizon -= 15 * time.Second
	if v := Judge(rec, th); v.Verdict != Reproduced {
		t.Errorf("%s: %s", v.Verdict, v.Summary)
	}
}

// The wall clock steps while the counters are read: it moves no verdict, only its
// times of day where they are of the first record's clock.
func TestJudgeClockSteps(t *testing.T) {
	want := Judge(stalls().tell(), Defaults())
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		rec := stalls().tell()
		for i := range rec.Records {
			if rec.Records[i].Mono > time.Hour+30*time.Second {
				rec.Records[i].Time = rec.Records[i].Time.Add(step)
			}
		}
		last := rec.Records[len(rec.Records)-1]
		rec.Records[len(rec.Records)-1].Body = timeline.Body{Clock: &timeline.Clock{Step: step}}
		last.N++
		rec.Records = append(rec.Records, last)
		v := Judge(rec, Defaults())
		if v.Verdict != want.Verdict || v.Summary != want.Summary || fmt.Sprint(v.Stall) != fmt.Sprint(want.Stall) {
			t.Errorf("step by %s: %s: %s", step, v.Verdict, v.Summary)
		}
		if !slices.ContainsFunc(v.Warnings, func(w string) bool { return strings.Contains(w, "the wall clock stepped by "+step.String()) }) {
			t.Errorf("step by %s: warnings %q", step, v.Warnings)
		}
	}
}

// What is known to be wrong with a release is said once.
func TestJudgeNamesDoubts(t *testing.T) {
	rec := withStats(stalls().tell(), func(_ int, s *beatstats.Sample) bool {
		s.Notes = []string{"9.0.1 leaves out filebeat.events (beats#44602)"}
		s.Failed = &beatstats.Value{Key: "libbeat.output.events.failed", Corrupt: "-1 is below zero"}
		return true
	})
	v := Judge(rec, Defaults())
	text := strings.Join(v.Warnings, "\n")
	for _, part := range []string{"the shipper's counters: 9.0.1 leaves out filebeat.events", "libbeat.output.events.failed is not used: -1 is below zero"} {
		if strings.Count(text, part) != 1 {
			t.Errorf("%q is not said once:\n%s", part, text)
		}
	}
}

// The lag has no progress either where counters ran backward or began to count
// from another moment.
func TestMeterCountsOnlyProgress(t *testing.T) {
	var m Meter
	add := func(second int, acked int64, logged *beatstats.Logged) {
		up := time.Hour + time.Duration(second)*time.Second
		m.Add(time.Duration(second)*time.Second, uint64(second), beatstats.Sample{
			Kind: beatstats.Beat, ID: "a", Uptime: &up, Logged: logged,
			Acked: &beatstats.Value{N: acked}, Published: &beatstats.Value{N: acked + 7}, Pending: &beatstats.Value{N: 7},
		})
	}
	log := &beatstats.Logged{Period: 30 * time.Second, Since: time.Hour}
	for second, acked := range []int64{100, 100, 90, 100} {
		add(second+1, acked, nil)
	}
	add(40, 3, log)
	add(70, 3, log)
	add(71, 100, nil)
	l, ok := m.Lag(80 * time.Second)
	if !ok || l.SinceAck == nil || !l.SinceAck.AtLeast || l.SinceAck.For != 79*time.Second {
		t.Errorf("%+v, since the last ack %+v", l, l.SinceAck)
	}
}
