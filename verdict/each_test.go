package verdict

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"halfopen/beatstats"
	"halfopen/timeline"
)

// Each shipper has its own verdict, from its own connections, counters and log;
// the worst is that of all.
func TestJudgeEach(t *testing.T) {
	f := film{seconds: 90, far: true, ships: []ship{
		{place: "filebeat", lines: [][]phase{{{}}}},
		{place: "filebeat-2", lines: [][]phase{{{}, {at: 10, is: dead}}}},
		{place: "filebeat-3", lines: [][]phase{{{}, {at: 10, is: dead}, {at: 50, fresh: true, log: "filebeat-reset"}}}},
		{place: "fluentd", kind: beatstats.Fluentd, lines: [][]phase{{{}, {at: 10, is: absent}}}},
	}}
	v := Judge(f.roll(), Defaults())
	if v.Verdict != Stalled || v.Class != HalfOpen || v.Shipper != "" || v.Connection != nil {
		t.Errorf("of all: %q, class %q, shipper %q, connection %v", v.Verdict, v.Class, v.Shipper, v.Connection)
	}
	if want := "4 shippers; stalled: filebeat-2; inconclusive: fluentd; recovered: filebeat-3; not stalled: filebeat"; v.Summary != want {
		t.Errorf("summary %q, want %q", v.Summary, want)
	}
	for i, want := range []struct {
		place, verdict string
		class          Class
	}{
		{"filebeat", NotStalled, ""}, {"filebeat-2", Stalled, HalfOpen}, {"filebeat-3", Recovered, ""}, {"fluentd", Inconclusive, NotConnected},
	} {
		s := v.Shippers[i]
		if s.Shipper != want.place || s.Verdict != want.verdict || s.Class != want.class || s.Lag == nil {
			t.Errorf("%s: %q, class %q, lag %v; want %s: %q, class %q", s.Shipper, s.Verdict, s.Class, s.Lag, want.place, want.verdict, want.class)
		}
	}
	two := v.Shippers[1]
	if two.Receiver == nil || two.Receiver.Remote.Addr() == two.Connection.Local.Addr() {
		t.Errorf("at the receiver %v, no NAT seen", two.Receiver)
	}
}

// A verdict on one shipper says nothing of several.
func TestJudgeOneShape(t *testing.T) {
	out, err := json.Marshal(Judge(film{ships: from10(dead)}.roll(), Defaults()))
	if err != nil || strings.Contains(string(out), `"shipper`) {
		t.Errorf("%s, %v", out, err)
	}
}

// The settings that decide the story are told with it, whatever the verdict; plain
// remarks only where they explain it.
func TestJudgeNotes(t *testing.T) {
	lint := []beatstats.Finding{
		{Rule: "timeout-zero", Level: beatstats.LevelError}, {Rule: "ttl-ignored", Level: beatstats.LevelWarning},
		{Rule: "timeout-recovers", Level: beatstats.LevelInfo}, {Rule: "http-address", Level: beatstats.LevelInfo}, {Rule: "queue-bound", Level: beatstats.LevelInfo},
	}
	for name, tt := range map[string]struct {
		film film
		want string
	}{
		"not stalled": {film{ships: one(phase{})}, "timeout-zero ttl-ignored"},
		"stalled":     {film{ships: from10(dead)}, "timeout-zero ttl-ignored timeout-recovers queue-bound"},
		"recovered": {film{seconds: 90, timeout: 35 * time.Second, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 45, fresh: true})},
			"timeout-zero ttl-ignored timeout-recovers"},
	} {
		tt.film.lint = lint
		v := Judge(tt.film.roll(), Defaults())
		var have []string
		for _, s := range v.Settings {
			have = append(have, s.Rule)
			if s.Record == 0 {
				t.Errorf("%s: %s rests on no record", name, s.Rule)
			}
		}
		if got := strings.Join(have, " "); got != tt.want {
			t.Errorf("%s (%s): %q, want %q", name, v.Verdict, got, tt.want)
		}
	}
}

// Two receivers are read one after the other: what one does not show is not gone.
func TestJudgeTwoReceivers(t *testing.T) {
	rec := film{seconds: 90, far: true, ships: from10(blocked)}.roll()
	rec.Records[0].Header.Places = append(rec.Records[0].Header.Places, timeline.Place{Name: "logstash-2", Role: timeline.Receiver})
	var records []timeline.Record
	for _, k := range rec.Records {
		records = append(records, k)
		if k.Sockets != nil && k.Sockets.At == "logstash" {
			k.Body = timeline.Body{Sockets: &timeline.Sockets{At: "logstash-2", Via: "diag", Readings: 10}}
			records = append(records, k)
		}
	}
	rec.Records = records
	v := Judge(rec, Defaults())
	for _, f := range v.Findings {
		if f.Rule == "two-sided proof" {
			t.Errorf("%s", f.Text)
		}
	}
	if v.Class != ReceiverBlocked || v.Confidence != "" {
		t.Errorf("class %q, confidence %q", v.Class, v.Confidence)
	}
}
