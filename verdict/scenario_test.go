package verdict

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/beatstats"
	"halfopen/sockstate"
)

// scenario is a film with the verdict it must get.
type scenario struct {
	name     string
	film     film
	stall    bool // the recording proves that at the end a connection stands, work waits, and nothing is acknowledged
	verdict  string
	class    Class
	by       string   // who ended the stall
	findings []string // rules that must be among the findings
	low      bool     // the verdict must doubt itself
	steps    bool     // between two acks it is stalled, and recovers each time
}

// one is a shipper with one connection.
func one(phases ...phase) []ship { return []ship{{lines: [][]phase{phases}}} }

func from10(is state) []ship { return one(phase{}, phase{at: 10, is: is}) }

// with changes the only shipper.
func with(ships []ship, change func(*ship)) []ship {
	change(&ships[0])
	return ships
}

// reconnects is a connection that is made anew every so many seconds.
func reconnects(every, seconds int, is state) (list []phase) {
	for s := 0; s <= seconds; s += every {
		list = append(list, phase{at: s, is: is, fresh: true, remains: sockstate.TimeWait})
	}
	return list
}

var scenarios = []scenario{
	{name: "idle", film: film{ships: one(phase{rate: -1})}, verdict: NotStalled},
	{name: "idle from its start", film: film{ships: with(one(phase{rate: -1}), func(s *ship) { s.first = true })}, verdict: NotStalled},
	{name: "steady", film: film{ships: one(phase{})}, verdict: NotStalled},
	{name: "steady, both sides", film: film{far: true, ships: one(phase{})}, verdict: NotStalled},
	{name: "bursts", film: film{ships: with(one(phase{}), func(s *ship) { s.burst = 20 })}, verdict: NotStalled},
	{name: "ends in a burst", film: film{seconds: 41, ships: with(one(phase{}, phase{at: 40, is: silent}), func(s *ship) { s.burst = 20 })}, verdict: NotStalled},
	{name: "idle, and an event just now", film: film{seconds: 62, ships: one(phase{rate: -1}, phase{at: 60, is: silent, rate: 10})}, verdict: NotStalled},
	{name: "slow receiver", film: film{seconds: 67, ships: one(phase{every: 12})}, verdict: NotStalled},
	{name: "very slow receiver", film: film{seconds: 140, ships: one(phase{every: 40})}, verdict: NotStalled, steps: true},

	{name: "receiver restarts, FIN", film: film{ships: one(phase{}, phase{at: 20, is: closing}, phase{at: 21, is: absent}, phase{at: 23, fresh: true, remains: sockstate.TimeWait, log: "filebeat-eof"})}, verdict: NotStalled},
	{name: "receiver restarts, RST", film: film{ships: one(phase{}, phase{at: 20, is: absent, log: "filebeat-reset"}, phase{at: 26, fresh: true})}, verdict: NotStalled},
	{name: "receiver is away for 40 s", film: film{seconds: 80, ships: one(phase{}, phase{at: 20, is: absent, log: "filebeat-reset"}, phase{at: 60, fresh: true})}, verdict: Recovered, by: ByReset},
	{name: "rolling restart", film: film{ships: []ship{{lines: [][]phase{
		{{}, {at: 10, is: absent}, {at: 20, fresh: true}}, {{}, {at: 20, is: absent}, {at: 30, fresh: true}}, {{}, {at: 30, is: absent}, {at: 40, fresh: true}},
	}}}}, verdict: NotStalled},
	{name: "ttl reconnects", film: film{ships: one(reconnects(15, 60, flowing)...)}, verdict: NotStalled},

	{name: "ACK 0", film: film{ships: from10(blocked)}, stall: true, verdict: Stalled, class: ReceiverBlocked},
	{name: "ACK 0, both sides", film: film{far: true, ships: from10(blocked)}, stall: true, verdict: Stalled, class: ReceiverBlocked, findings: []string{"receiver's side"}},
	{name: "ACK 0, from /proc", film: film{ships: with(from10(blocked), func(s *ship) { s.proc = true })}, stall: true, verdict: Stalled, class: ReceiverBlocked},
	{name: "ACK 0 from the first reading", film: film{ships: with(one(phase{is: blocked}), func(s *ship) { s.first = true })}, stall: true, verdict: Stalled, class: ReceiverBlocked},
	{name: "ACK 0 for a while", film: film{seconds: 80, ships: one(phase{}, phase{at: 20, is: blocked}, phase{at: 60})}, verdict: Recovered, by: ByReceiver},
	{name: "zero window", film: film{ships: from10(zero)}, stall: true, verdict: Stalled, class: ZeroWindow},
	{name: "silent proxy", film: film{ships: from10(silent)}, stall: true, verdict: Stalled, class: SilentPeer},
	{name: "silent proxy, both sides", film: film{far: true, proxy: true, ships: from10(silent)}, stall: true, verdict: Stalled, class: SilentPeer, low: true, findings: []string{"two-sided proof", "signals disagree"}},
	{name: "the receiver hangs, both sides", film: film{far: true, ships: from10(silent)}, stall: true, verdict: Stalled, class: SilentPeer, findings: []string{"receiver hangs"}},
	{name: "silent proxy, from /proc", film: film{ships: with(from10(silent), func(s *ship) { s.proc = true })}, stall: true, verdict: Stalled, class: SilentPeer},

	{name: "half-open", film: film{ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen},
	{name: "half-open, both sides", film: film{seconds: 90, far: true, ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"two-sided proof"}},
	{name: "half-open, from /proc", film: film{ships: with(from10(dead), func(s *ship) { s.proc = true })}, stall: true, verdict: Stalled, class: HalfOpen},
	{name: "half-open, queue full before", film: film{ships: with(from10(dead), func(s *ship) { s.full = true })}, stall: true, verdict: Stalled, class: HalfOpen},
	{name: "half-open from the first reading", film: film{ships: one(phase{is: dead})}, stall: true, verdict: Stalled, class: HalfOpen},
	{name: "half-open for two seconds", film: film{seconds: 12, ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen, low: true, findings: []string{"young", "known"}},
	{name: "half-open for 20 s", film: film{seconds: 30, ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen, low: true, findings: []string{"young", "known"}},
	{name: "half-open for too short to tell, from /proc", film: film{seconds: 30, ships: with(from10(dead), func(s *ship) { s.proc = true })}, verdict: Inconclusive},
	{name: "idle half-open", film: film{seconds: 90, ships: one(phase{rate: -1}, phase{at: 10, is: deadIdle})}, verdict: NotStalled, class: IdleHalfOpen},
	{name: "idle half-open, both sides", film: film{seconds: 90, far: true, ships: one(phase{rate: -1}, phase{at: 10, is: deadIdle})}, verdict: NotStalled, class: IdleHalfOpen, findings: []string{"two-sided proof"}},
	{name: "half-open with the first event in a minute", film: film{seconds: 120, ships: one(phase{rate: -1}, phase{at: 60, is: dead, rate: 10})}, stall: true, verdict: Stalled, class: HalfOpen},
	{name: "half-open, waiting for an ACK", film: film{seconds: 90, ships: from10(deadIdle)}, stall: true, verdict: Stalled, class: IdleHalfOpen},
	{name: "local drop", film: film{ships: from10(dropped)}, stall: true, verdict: Stalled, class: LocalDrop},
	{name: "close wait", film: film{ships: from10(closing)}, stall: true, verdict: Stalled, class: CloseWait},
	{name: "the shipper hangs", film: film{ships: from10(hung)}, stall: true, verdict: Stalled, class: Unknown},

	{name: "5% loss", film: film{ships: one(phase{loss: 0.05})}, verdict: NotStalled},
	{name: "20% loss", film: film{ships: one(phase{loss: 0.2})}, verdict: NotStalled},
	{name: "50% loss", film: film{ships: one(phase{loss: 0.5})}, verdict: NotStalled},
	{name: "only the way there is dead", film: film{far: true, ships: from10(deadOut)}, stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"receiver's side"}},
	{name: "only the way back is dead", film: film{far: true, ships: from10(deadBack)}, stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"one way"}},
	{name: "a drop shorter than the RTO", film: film{ships: one(phase{}, phase{at: 20, is: dead}, phase{at: 21})}, verdict: NotStalled},

	{name: "refused", film: film{ships: from10(absent)}, verdict: Inconclusive, class: NotConnected},
	{name: "no answer to SYN", film: film{ships: one(phase{}, phase{at: 10, is: syn, fresh: true})}, verdict: Inconclusive, class: NotConnected},
	{name: "reconnect storm", film: film{ships: one(append([]phase{{}}, reconnects(4, 60, silent)[3:]...)...)}, verdict: Inconclusive, class: NotConnected},

	{name: "ended by the shipper's timeout", film: film{seconds: 90, timeout: 35e9, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 45, fresh: true, remains: sockstate.FinWait1})}, verdict: Recovered, by: ByTimeout},
	{name: "ended by the shipper's timeout, idle before", film: film{seconds: 120, timeout: 35e9, ships: one(phase{rate: -1}, phase{at: 40, is: dead, rate: 10}, phase{at: 75, fresh: true, remains: sockstate.FinWait1})}, verdict: Recovered, by: ByTimeout},
	{name: "ended by the kernel", film: film{seconds: 90, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 50, fresh: true, log: "filebeat-kernel-timeout"})}, verdict: Recovered, by: ByKernel},
	{name: "ended by keepalive", film: film{seconds: 200, ships: one(phase{}, phase{at: 10, is: deadIdle}, phase{at: 160, fresh: true, log: "filebeat-kernel-timeout"})}, verdict: Recovered, by: ByKeepalive},
	{name: "ended by RST", film: film{seconds: 90, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 50, fresh: true, log: "filebeat-reset"})}, verdict: Recovered, by: ByReset},
	{name: "ended by FIN", film: film{seconds: 90, ships: one(phase{}, phase{at: 10, is: silent}, phase{at: 50, is: closing}, phase{at: 52, fresh: true, remains: sockstate.LastAck})}, verdict: Recovered, by: ByFIN},
	{name: "ended by healing", film: film{seconds: 90, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 50, fresh: true, log: "filebeat-aborted"})}, verdict: Recovered, by: ByDestroy},
	{name: "ended by a restart", film: film{seconds: 90, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 50, fresh: true, restart: true})}, verdict: Recovered, by: ByRestart, findings: []string{"restarts"}},
	{name: "zero window for a while", film: film{seconds: 80, ships: one(phase{}, phase{at: 20, is: zero}, phase{at: 60})}, verdict: Recovered, by: ByReceiver},
	{name: "ended by retransmission", film: film{seconds: 90, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 50})}, verdict: Recovered, by: ByResume},
	{name: "restarted, and still no path", film: film{seconds: 90, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 40, is: syn, fresh: true, restart: true})}, verdict: Inconclusive, class: NotConnected},
	{name: "recovered, and stalled again", film: film{seconds: 120, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 50, fresh: true, log: "filebeat-reset"}, phase{at: 70, is: dead})}, stall: true, verdict: Stalled, class: HalfOpen},
	{name: "the same port again", film: film{seconds: 90, ships: one(phase{port: 40000}, phase{at: 10, is: dead}, phase{at: 50, fresh: true, port: 40000, log: "filebeat-reset"})}, verdict: Recovered, by: ByReset},
	{name: "the same port again, from /proc", film: film{seconds: 90, ships: with(one(phase{port: 40000}, phase{at: 10, is: dead}, phase{at: 50, fresh: true, port: 40000, log: "filebeat-reset"}), func(s *ship) { s.proc = true })}, verdict: Recovered, by: ByReset},

	{name: "two shippers behind one NAT, one stalls", film: film{seconds: 90, far: true, ships: []ship{{lines: [][]phase{{{}}}}, {place: "filebeat-2", lines: [][]phase{{{}, {at: 10, is: dead}}}}}}, stall: true, verdict: Stalled, class: HalfOpen},
	{name: "two shippers behind one NAT", film: film{far: true, ships: []ship{{lines: [][]phase{{{}}}}, {place: "filebeat-2", lines: [][]phase{{{}}}}}}, verdict: NotStalled},
	{name: "one of four workers stalls", film: film{ships: []ship{{lines: [][]phase{{{}}, {{}}, {{}, {at: 10, is: dead}}, {{}}}}}}, stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"connections"}},
	{name: "four workers, one idle for long", film: film{ships: []ship{{lines: [][]phase{{{}}, {{}}, {{}, {at: 10, is: silent}}, {{}}}}}}, verdict: NotStalled},
	{name: "all workers stall", film: film{ships: []ship{{lines: [][]phase{{{}, {at: 10, is: dead}}, {{}, {at: 12, is: dead}}}}}}, stall: true, verdict: Stalled, class: HalfOpen, findings: []string{"connections"}},

	{name: "clock step, steady", film: film{step: 30, ships: one(phase{})}, verdict: NotStalled},
	{name: "clock step, half-open", film: film{step: 30, ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen},
	{name: "no counters, half-open", film: film{ships: with(from10(dead), func(s *ship) { s.mute = []int{0, 1000} })}, stall: true, verdict: Stalled, class: HalfOpen, low: true},
	{name: "no counters, zero window", film: film{ships: with(from10(zero), func(s *ship) { s.mute = []int{0, 1000} })}, stall: true, verdict: Stalled, class: ZeroWindow, low: true},
	{name: "no counters, steady", film: film{ships: with(one(phase{}), func(s *ship) { s.mute = []int{0, 1000} })}, verdict: Inconclusive},
	{name: "counters end, steady", film: film{ships: with(one(phase{}), func(s *ship) { s.mute = []int{40, 1000} })}, verdict: Inconclusive},
	{name: "counters with a hole, steady", film: film{seconds: 90, ships: with(one(phase{}), func(s *ship) { s.mute = []int{20, 70} })}, verdict: NotStalled},
	{name: "no sockets, acks stand", film: film{ships: with(from10(dead), func(s *ship) { s.blind = true })}, verdict: Inconclusive},
	{name: "no sockets, steady", film: film{ships: with(one(phase{}), func(s *ship) { s.blind = true })}, verdict: NotStalled},
	{name: "torn, half-open", film: film{torn: true, ships: from10(dead)}, stall: true, verdict: Stalled, class: HalfOpen},
	{name: "torn, steady", film: film{torn: true, ships: one(phase{})}, verdict: NotStalled},
	{name: "fluentd, half-open", film: film{ships: with(from10(dead), func(s *ship) { s.kind = beatstats.Fluentd })}, stall: true, verdict: Stalled, class: HalfOpen},
	{name: "fluentd, steady", film: film{ships: with(one(phase{}), func(s *ship) { s.kind = beatstats.Fluentd })}, verdict: NotStalled},
	{name: "never delivered for its settings", film: film{lint: []beatstats.Finding{{Level: beatstats.LevelError, Setting: "output.logstash.timeout", Value: "0s", What: "every write fails", Why: "it is past"}},
		ships: with(one(reconnects(2, 60, silent)...), func(s *ship) { s.first = true })}, verdict: Inconclusive},

	{name: "cut, half-open", film: film{seconds: 70, cut: []int{10, 20}, ships: from10(dead)}, stall: true, verdict: Reproduced, class: HalfOpen},
	{name: "cut, told by marks", film: film{seconds: 70, marks: []int{10, 20}, ships: from10(dead)}, stall: true, verdict: Reproduced, class: HalfOpen},
	{name: "cut, forgotten while idle", film: film{seconds: 80, cut: []int{10, 20}, forgetIdle: true, ships: one(phase{}, phase{at: 8, rate: -1}, phase{at: 10, is: deadIdle}, phase{at: 24, is: dead, rate: 10})}, stall: true, verdict: Reproduced, class: HalfOpen},
	{name: "cut, own timeout", film: film{seconds: 70, timeout: 15e9, cut: []int{10, 20}, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 25, fresh: true, remains: sockstate.FinWait1})}, verdict: Recovered, by: ByTimeout},
	{name: "cut for less than the RTO", film: film{seconds: 70, cut: []int{10, 11}, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 13})}, verdict: Recovered, by: ByResume},
	{name: "cut, stalled again", film: film{seconds: 120, cut: []int{10, 20}, ships: one(phase{}, phase{at: 10, is: dead}, phase{at: 25, fresh: true, log: "filebeat-reset"}, phase{at: 40, is: dead})}, stall: true, verdict: Stalled, class: HalfOpen},
	{name: "cut, not met", film: film{seconds: 70, cut: []int{10, 20}, ships: one(phase{}, phase{at: 9, is: silent})}, verdict: Inconclusive},
}

// Every scenario gets its verdict and its class; what is called a stall is one
// (precision), and what is one is not called sound (recall).
func TestScenarios(t *testing.T) {
	if len(scenarios) < 40 {
		t.Fatalf("only %d scenarios", len(scenarios))
	}
	var hits, falseAlarms, misses int
	for _, sc := range scenarios {
		t.Run(strings.ReplaceAll(sc.name, "/", "|"), func(t *testing.T) {
			v := Judge(sc.film.roll(), Defaults())
			if v.Verdict != sc.verdict || v.Class != sc.class {
				t.Errorf("%q, class %q; want %q, class %q: %s", v.Verdict, v.Class, sc.verdict, sc.class, v.Summary)
			}
			if stalls := v.Verdict == Stalled || v.Verdict == Reproduced; stalls && len(v.Shippers) == 0 && !strings.HasSuffix(v.Summary, "; class "+string(v.Class)) {
				t.Errorf("the summary does not end with the class: %s", v.Summary)
			}
			if by := recoveredBy(v); by != sc.by {
				t.Errorf("ended by %q, want %q: %s", by, sc.by, v.Summary)
			}
			if (v.Confidence == Low) != sc.low {
				t.Errorf("confidence %q", v.Confidence)
			}
			for _, rule := range sc.findings {
				if !slices.ContainsFunc(v.Findings, func(f Finding) bool { return f.Rule == rule }) {
					t.Errorf("no finding %q: %+v", rule, v.Findings)
				}
			}
			for _, one := range append([]Verdict{v}, v.Shippers...) {
				for _, f := range slices.Concat(one.Gates, one.Criteria, one.Findings) {
					if len(f.Records) == 0 {
						t.Errorf("finding %q rests on no record: %s", f.Rule, f.Text)
					}
				}
			}
			switch called := v.Verdict == Stalled || v.Verdict == Reproduced; {
			case called && sc.stall:
				hits++
			case called:
				falseAlarms++
			case sc.stall:
				misses++
			}
			if t.Failed() {
				t.Logf("%+v", v.Findings)
			}
		})
	}
	precision, recall := float64(hits)/float64(hits+falseAlarms), float64(hits)/float64(hits+misses)
	t.Logf("%d scenarios, %d stalls called: precision %.2f, recall %.2f", len(scenarios), hits, precision, recall)
	if precision != 1 || recall != 1 {
		t.Errorf("precision %.2f, recall %.2f, want both 1", precision, recall)
	}
}

func recoveredBy(v Verdict) string {
	if v.Recovery == nil {
		return ""
	}
	return v.Recovery.By
}

// What never stalls is not called a stall at any second of it, and what stalls is
// called one from some second on until the end. How long that takes is printed.
func TestScenariosAtAnySecond(t *testing.T) {
	var slowest time.Duration
	var of string
	for _, sc := range scenarios {
		whole := sc.film.roll()
		called := false
		for i, k := range whole.Records {
			since := k.Mono - whole.Records[0].Mono
			if i+1 < len(whole.Records) && (whole.Records[i+1].Mono-whole.Records[0].Mono)/(2*time.Second) == since/(2*time.Second) {
				continue // the last record of every other second will do
			}
			part := *whole
			part.Records = whole.Records[:i+1]
			v := Judge(&part, Defaults())
			now := v.Verdict == Stalled || v.Verdict == Reproduced
			if now && sc.verdict == NotStalled && !sc.steps {
				t.Errorf("%s: called a stall after %s: %s", sc.name, since, v.Summary)
			}
			if wait := since - sc.film.began(); now && !called && sc.stall && wait > slowest && sc.film.cut == nil && sc.film.marks == nil && sc.film.path == nil {
				slowest, of = wait, sc.name
			}
			called = now
		}
		if sc.stall != called {
			t.Errorf("%s: called a stall at the end: %v", sc.name, called)
		}
	}
	t.Logf("slowest to be called without a known cut: %s after its onset, %q", slowest, of)
	if most := Defaults().StallAfter + 4*time.Second; slowest == 0 || slowest > most {
		t.Errorf("slowest call %s after the onset (%s), want at most %s", slowest, of, most)
	}
}

// began is when the last stall of a film began: of each connection, the last
// phase in which it does not flow.
func (f film) began() (at time.Duration) {
	for _, s := range f.ships {
		for _, phases := range s.lines {
			if last := phases[len(phases)-1]; last.is != flowing {
				at = max(at, time.Duration(last.at)*time.Second)
			}
		}
	}
	return at
}

// A film cut anywhere, or with any record missing, is judged without a panic, and
// twice the same.
func TestScenariosTorn(t *testing.T) {
	dice := rand.New(rand.NewPCG(3, 4))
	for _, sc := range scenarios {
		whole := sc.film.roll()
		for range 12 {
			part := *whole
			part.Records = slices.Clone(whole.Records[:1+dice.IntN(len(whole.Records))])
			for range dice.IntN(40) {
				if n := len(part.Records); n > 1 {
					at := 1 + dice.IntN(n-1)
					part.Records = slices.Delete(part.Records, at, at+1)
				}
			}
			a, b := Judge(&part, Defaults()), Judge(&part, Defaults())
			if a.Verdict == "" || a.Summary == "" || fmt.Sprint(a) == "" || a.Summary != b.Summary {
				t.Fatalf("%s: %q, %q", sc.name, a.Summary, b.Summary)
			}
		}
	}
}
