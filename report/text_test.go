package report

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"halfopen/beatstats"
	"halfopen/flow"
	"halfopen/verdict"
)

func TestText(t *testing.T) {
	yes, no, waiting := true, false, int64(551)
	f := flow.New(netip.MustParseAddrPort("10.50.0.2:33342"), netip.MustParseAddrPort("10.51.0.2:5044"))
	far := flow.New(netip.MustParseAddrPort("10.51.0.2:5044"), netip.MustParseAddrPort("10.51.0.1:40000"))
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got := Text(verdict.Verdict{
		Verdict: verdict.Inconclusive, Summary: "acks stand still, but waiting events went from 5 to 5",
		Recording: "halfopen-nat-20260102-030405-timeline.jsonl", Connection: &f, Receiver: &far, Class: verdict.HalfOpen,
		Window:   &verdict.Window{Start: start, StartWithin: 250 * time.Millisecond},
		Gates:    []verdict.Finding{{Rule: "baseline", Holds: &yes, Text: "delivered", Records: []uint64{1, 2}}},
		Criteria: []verdict.Finding{{Rule: "pending", Holds: &no, Text: "5 to 5", Records: []uint64{3}}, {Rule: "acks", Text: "not known"}},
		Findings: []verdict.Finding{{Rule: "class", Text: "half-open", Records: []uint64{9}}},
		Ends:     []verdict.End{{By: verdict.ByKernel, Text: "the kernel, later"}},
		Warnings: []string{"the log said \x1b[2J\u202e"},
		Lag: &verdict.Lag{
			SinceAck: &verdict.Age{For: 75 * time.Second, AtLeast: true}, Waiting: &waiting, Oldest: &verdict.Age{For: 44600 * time.Millisecond},
			Rates: []verdict.Rate{{Over: 10 * time.Second}, {Over: time.Minute, PerSecond: 2.04}},
			Full:  &verdict.Full{Capacity: 4096, PerSecond: 10, In: 354*time.Second + 400*time.Millisecond}, Records: []uint64{1, 9},
		},
		Confidence: verdict.Low,
		Settings: []verdict.Setting{{Finding: beatstats.Finding{Level: beatstats.LevelError, Setting: "output.logstash.timeout", Value: "0s", What: "nothing", Why: "now", Line: 7}, File: "/etc/f.yml", Record: 2},
			{Finding: beatstats.Finding{Level: beatstats.LevelWarning, Setting: "output.logstash.password", What: "unknown", Why: "so"}, Record: 3}},
	})
	want := `INCONCLUSIVE
acks stand still, but waiting events went from 5 to 5

connection  10.50.0.2:33342 -> 10.51.0.2:5044
at receiver 10.51.0.2:5044 -> 10.51.0.1:40000 (behind NAT)
class       half-open
confidence  low
cut         2026-01-02T03:04:05.000Z (or up to 250ms earlier) to open
last ack    more than 1m15s before the last reading of the counters; acked 0.0/s over 10s, 2.0/s over 1m [record 1, 9]
oldest      of 551 events waits for 44.6s, by the queue's counters
queue       551 of 4096 events, full 5m54s later at 10.0/s

gates
  yes baseline: delivered [record 1, 2]

criteria
  NO  pending: 5 to 5 [record 3]
   ?  acks: not known

findings
      class: half-open [record 9]

what could still end it
  the kernel, later

settings
  error   f.yml:7: output.logstash.timeout: 0s: nothing; now [record 2]
  warning output.logstash.password: unknown; so [record 3]

warnings
  the log said \x1b[2J\u202e

recording halfopen-nat-20260102-030405-timeline.jsonl
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// Of several shippers each has its part, and what is of all stands before and after.
func TestTextOfSeveral(t *testing.T) {
	got := string(Text(verdict.Verdict{
		Verdict: verdict.Stalled, Class: verdict.HalfOpen, Summary: "2 shippers; stalled: b; not stalled: a", Recording: "x",
		Warnings: []string{"no end"},
		Shippers: []verdict.Verdict{
			{Shipper: "a", Verdict: verdict.NotStalled, Summary: "acks moved", Findings: []verdict.Finding{{Rule: "acks", Text: "moved", Records: []uint64{4}}}},
			{Shipper: "b", Verdict: verdict.Stalled, Class: verdict.HalfOpen, Summary: "dead", Warnings: []string{"two connections"}},
		},
	}))
	want := `STALLED
2 shippers; stalled: b; not stalled: a

--- a: NOT STALLED
acks moved


findings
      acks: moved [record 4]

--- b: STALLED
dead

class       half-open

warnings
  two connections


warnings
  no end

recording x
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFindings(t *testing.T) {
	got := string(Findings("f.yml", []beatstats.Finding{
		{Level: beatstats.LevelError, Setting: "output.logstash.timeout", Value: "0s\x1b[2J", What: "nothing is delivered", Why: "it is past", Set: "30s", Source: "measured", Line: 7},
		{Level: beatstats.LevelInfo, Setting: "http.host", What: "the counters are there", Set: "nothing"},
	}))
	want := `f.yml
  error   f.yml:7: output.logstash.timeout: 0s\x1b[2J
          nothing is delivered
          why:    it is past
          set:    30s
          source: measured
  info    http.host
          the counters are there
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := string(Findings("f.yml", nil)); got != "f.yml\n  nothing to say\n" {
		t.Errorf("%q", got)
	}
}

// JSON reads back as what it was, and holds nothing that a terminal would obey.
func TestJSON(t *testing.T) {
	const hostile = "a\x1b[31m\u009b\u202e\U000e0001é한"
	out, err := JSON(map[string]string{"k": hostile})
	if err != nil {
		t.Fatal(err)
	}
	if strings.IndexFunc(string(out), unprintable) >= 0 {
		t.Errorf("unprintable: %q", out)
	}
	var back map[string]string
	if err := json.Unmarshal(out, &back); err != nil || back["k"] != hostile {
		t.Errorf("read back as %q, %v", back["k"], err)
	}
}
