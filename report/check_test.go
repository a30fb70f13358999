package report

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"halfopen/flow"
	"halfopen/sockstate"
	"halfopen/verdict"
)

func TestCheckText(t *testing.T) {
	conn := func(port uint16, h verdict.Health) verdict.ConnCheck {
		return verdict.ConnCheck{Health: h, State: sockstate.Established, Why: "nothing waits\x1b[2J", Connection: flow.New(
			netip.AddrPortFrom(netip.MustParseAddr("10.50.0.2"), port), netip.MustParseAddrPort("10.51.0.2:5044"))}
	}
	bad := conn(40000, verdict.Stuck)
	backoff, unsent, acked, by := uint8(8), uint32(0), int64(49), int64(0)
	bad.Confidence = verdict.Low
	bad.Class, bad.Why, bad.Stood = verdict.HalfOpen, "802 bytes in flight", span(44200*time.Millisecond)
	bad.Timer, bad.TimerIn, bad.Retransmits, bad.Backoff, bad.RTO, bad.LastAck = sockstate.TimerRetransmit, 12*time.Second, 8, &backoff, span(52*time.Second), span(55*time.Second)
	bad.Unacked, bad.Unsent, bad.Ends, bad.Next = 802, &unsent, []verdict.End{{Text: "the kernel's give-up"}}, "see the path"
	s := verdict.ShipperCheck{Name: "filebeat", What: "process 12 (filebeat)", Health: verdict.Stuck, Counters: &verdict.CountersCheck{Acked: &acked, AckedBy: &by},
		Connections: []verdict.ConnCheck{bad}, Count: map[verdict.Health]int{verdict.Stuck: 1, verdict.Healthy: 90}, Notes: []string{"a doubt"}}
	for port := range uint16(63) {
		s.Connections = append(s.Connections, conn(port+1, verdict.Healthy))
	}
	got := string(Check(verdict.Checkup{Health: verdict.Stuck, Summary: "one of 91", Over: time.Second, Partial: []string{"time ran out"},
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Shippers: []verdict.ShipperCheck{s, {Name: "other", Health: verdict.Untold, Why: "no connection", Next: "look longer"}}}))
	well := ""
	for _, port := range []string{"1", "2", "3", "4"} {
		well += `  10.50.0.2:` + port + ` -> 10.51.0.2:5044 ESTABLISHED: healthy
    why        nothing waits\x1b[2J
    kernel     timer off, 0 unanswered
`
	}
	want := `STALLED
one of 91
PARTIAL: time ran out

filebeat: STALLED
  process 12 (filebeat)
  counters   49 events acked, +0 between the readings
  note       a doubt
  10.50.0.2:40000 -> 10.51.0.2:5044 ESTABLISHED: stalled, half-open, no answer for at least 44.2s, confidence low
    why        802 bytes in flight
    kernel     timer retransmit in 12s, 8 unanswered, backoff 8, RTO 52s, last ACK 55s ago
    waits      802 bytes not acknowledged, of these 0 not sent yet
    ends       the kernel's give-up
    next       see the path
` + well + `  and 86 more that are healthy or idle

other: UNKNOWN
  why        no connection
  next       look longer

two readings 1s apart, the last at 2026-01-02T03:04:05.000Z
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.ContainsRune(got, '\x1b') {
		t.Error("a terminal would obey it")
	}
}

// Of many connections that stall alike only the first are told in full.
func TestCheckTextOfMany(t *testing.T) {
	s := verdict.ShipperCheck{Name: "filebeat", Health: verdict.Stuck}
	for port := range uint16(64) {
		s.Connections = append(s.Connections, verdict.ConnCheck{Health: verdict.Stuck, Class: verdict.HalfOpen, State: sockstate.Established, Why: "no answer", Next: "keep evidence",
			Connection: flow.New(netip.AddrPortFrom(netip.MustParseAddr("10.50.0.2"), 40000+port), netip.MustParseAddrPort("10.51.0.2:5044"))})
	}
	got := string(Check(verdict.Checkup{Health: verdict.Stuck, Shippers: []verdict.ShipperCheck{s}}))
	if told, all := strings.Count(got, "keep evidence"), strings.Count(got, "half-open"); told != mostAlike || all != 64 {
		t.Errorf("%d of %d connections are told in full, want %d of 64:\n%s", told, all, mostAlike, got)
	}
}
