package report

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"halfopen/flow"
	"halfopen/verdict"
)

func TestText(t *testing.T) {
	yes, no := true, false
	f := flow.New(netip.MustParseAddrPort("10.50.0.2:33342"), netip.MustParseAddrPort("10.51.0.2:5044"))
	far := flow.New(netip.MustParseAddrPort("10.51.0.2:5044"), netip.MustParseAddrPort("10.51.0.1:40000"))
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got := Text(verdict.Verdict{
		Verdict: verdict.Inconclusive, Summary: "acks stand still, but waiting events went from 5 to 5",
		Recording: "halfopen-nat-20260102-030405-timeline.jsonl", Connection: &f, Receiver: &far, Class: verdict.HalfOpen,
		Window:   &verdict.Window{Start: start},
		Gates:    []verdict.Finding{{Rule: "baseline", Holds: &yes, Text: "delivered", Records: []uint64{1, 2}}},
		Criteria: []verdict.Finding{{Rule: "pending", Holds: &no, Text: "5 to 5", Records: []uint64{3}}, {Rule: "acks", Text: "not known"}},
		Findings: []verdict.Finding{{Rule: "class", Text: "half-open", Records: []uint64{9}}},
		Ends:     []verdict.End{{By: verdict.ByKernel, Text: "the kernel, later"}},
		Warnings: []string{"the log said \x1b[2J\u202e"},
	})
	want := `INCONCLUSIVE
acks stand still, but waiting events went from 5 to 5

connection  10.50.0.2:33342 -> 10.51.0.2:5044
at receiver 10.51.0.2:5044 -> 10.51.0.1:40000 (behind NAT)
class       half-open
cut         2026-01-02T03:04:05.000Z to open

gates
  yes baseline: delivered [record 1, 2]

criteria
  NO  pending: 5 to 5 [record 3]
   ?  acks: not known

findings
      class: half-open [record 9]

what could still end it
  the kernel, later

warnings
  the log said \x1b[2J\u202e

recording halfopen-nat-20260102-030405-timeline.jsonl
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
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
