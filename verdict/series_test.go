package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/timeline"
)

// snapshots is what a series sees of a recording: the readings of every so many
// seconds, each snapshot with a header and an end. From the second of reboot on they
// are of another boot; 0: of one.
func snapshots(rec *timeline.Recording, every, reboot int) *timeline.Recording {
	h := *rec.Header()
	h.Snapshot, h.Method = true, ""
	out := &timeline.Recording{Path: "/evidence/film-timeline.jsonl"}
	add := func(k timeline.Record) {
		k.N = uint64(len(out.Records) + 1)
		out.Records = append(out.Records, k)
	}
	first := rec.Records[0]
	first.Header = &h
	add(first)
	second := func(k timeline.Record) int { return int((k.Mono - time.Hour) / time.Second) }
	last := second(rec.Records[len(rec.Records)-1])
	for s := 0; s <= last; s += every {
		boot := "one"
		if reboot > 0 && s >= reboot {
			boot = "two"
		}
		h.Merged = append(h.Merged, timeline.Source{Recording: fmt.Sprintf("film-%d", s), Host: "vm", BootID: boot, Snapshot: true})
		source := len(h.Merged)
		own := *rec.Header()
		own.Snapshot, own.Method = true, ""
		begun := false
		var end timeline.Record
		for _, k := range rec.Records {
			if second(k) != s || k.Stats == nil && k.Sockets == nil && k.Conntrack == nil {
				continue
			}
			k.Source = source
			if !begun {
				begun = true
				head := k
				head.Body = timeline.Body{Header: &own}
				add(head)
			}
			add(k)
			end = k
		}
		if begun {
			end.Body = timeline.Body{End: &timeline.End{Reason: timeline.EndDone}}
			add(end)
		}
	}
	end := out.Records[len(out.Records)-1]
	end.Source, end.Body = 0, timeline.Body{End: &timeline.End{Reason: timeline.EndDone}}
	add(end)
	return out
}

// fiveMinutes is how far apart the snapshots of a film of 25 minutes are, in seconds.
const fiveMinutes = 300

func TestJudgeSeries(t *testing.T) {
	half := func(is state) []ship { return one(phase{}, phase{at: 700, is: is}) }
	tests := []struct {
		name    string
		film    film
		reboot  int
		verdict string
		class   Class
		low     bool
		stalled int // snapshots that show it
		says    string
	}{
		{name: "delivers", film: film{ships: one(phase{})}, verdict: NotStalled, says: "acks moved until the end"},
		{name: "idle", film: film{ships: one(phase{rate: -1})}, verdict: NotStalled, says: "nothing waits"},
		{name: "idle for long", film: film{ships: one(phase{}, phase{at: 500, rate: -1})}, verdict: NotStalled, says: "nothing waits"},
		{name: "bursts", film: film{ships: with(one(phase{}), func(s *ship) { s.burst = 250 })}, verdict: NotStalled},
		{name: "half-open", film: film{ships: half(dead)}, verdict: Stalled, class: HalfOpen, stalled: 3, says: "no ack for 10m"},
		{name: "half-open in the last two alone", film: film{ships: one(phase{}, phase{at: 1195, is: dead})}, verdict: Stalled, class: HalfOpen, stalled: 2, says: "no ack for 5m"},
		{name: "half-open, from /proc", film: film{ships: with(half(dead), func(s *ship) { s.proc = true })}, verdict: Stalled, class: HalfOpen, stalled: 3},
		{name: "silent peer", film: film{ships: half(silent)}, verdict: Stalled, class: SilentPeer, stalled: 3},
		{name: "receiver blocked", film: film{ships: half(blocked)}, verdict: Stalled, class: ReceiverBlocked, stalled: 3},
		{name: "zero window", film: film{ships: half(zero)}, verdict: Stalled, class: ZeroWindow, stalled: 3},
		{name: "local drop", film: film{ships: half(dropped)}, verdict: Stalled, class: LocalDrop, stalled: 3},
		{name: "both sides", film: film{far: true, ships: half(dead)}, verdict: Stalled, class: HalfOpen, stalled: 3},
		{name: "an event just now", film: film{ships: one(phase{rate: -1}, phase{at: 1499, is: silent, rate: 10})}, verdict: NotStalled, says: "just now"},
		{name: "dead since the snapshot before, as the kernel says", film: film{ships: one(phase{}, phase{at: 1400, is: dead})}, verdict: Stalled, class: HalfOpen, stalled: 1},
		{name: "restarted, the path still dead", film: film{ships: one(phase{}, phase{at: 700, is: dead}, phase{at: 1300, is: silent, fresh: true, restart: true})}, verdict: NotStalled, says: "just now"},
		{name: "counters began anew", film: film{ships: with(one(phase{}, phase{at: 700, is: silent}, phase{at: 1300, is: silent, restart: true}), func(s *ship) { s.kind = "fluentd" })}, verdict: NotStalled, says: "just now"},
		{name: "fluentd, silent peer", film: film{ships: with(half(silent), func(s *ship) { s.kind = "fluentd" })}, verdict: Stalled, class: SilentPeer, stalled: 3},
		{name: "another connection each time", film: film{ships: one(append([]phase{{}}, reconnects(60, 1500, silent)[10:]...)...)}, verdict: Inconclusive, class: NotConnected, says: "not the same connection"},
		{name: "not connected", film: film{ships: half(absent)}, verdict: Inconclusive, class: NotConnected},
		{name: "recovered by a new connection", film: film{ships: one(phase{}, phase{at: 400, is: dead}, phase{at: 1100, fresh: true})}, verdict: Recovered},
		{name: "recovered by itself", film: film{ships: one(phase{}, phase{at: 400, is: silent}, phase{at: 1100})}, verdict: Recovered},
		{name: "one waits, one does not, and it delivers", film: film{ships: one(phase{}, phase{at: 590, is: silent}, phase{at: 610})}, verdict: NotStalled},
		{name: "the host was started again", reboot: 1300, film: film{ships: half(silent)}, verdict: Inconclusive, class: NotConnected, says: "not the same connection"},
		{name: "the endpoint hangs at last, half-open", film: film{ships: with(half(dead), func(s *ship) { s.mute = []int{1490, 9999} })}, verdict: Stalled, class: HalfOpen, low: true, stalled: 3},
		{name: "the endpoint hangs at last, delivers", film: film{ships: with(one(phase{}), func(s *ship) { s.mute = []int{1490, 9999} })}, verdict: Inconclusive, says: "counters were last read 5m"},
		{name: "no sockets, acks stand", film: film{ships: with(half(dead), func(s *ship) { s.blind = true })}, verdict: Inconclusive, says: "sockets were never read"},
		{name: "idle half-open", film: film{ships: one(phase{rate: -1}, phase{at: 1400, is: deadIdle})}, verdict: NotStalled, class: IdleHalfOpen},
		{name: "one of two shippers", film: film{ships: []ship{{lines: [][]phase{{{}}}}, {place: "filebeat-2", lines: [][]phase{{{}, {at: 700, is: dead}}}}}}, verdict: Stalled, class: HalfOpen},
		{name: "one of four connections", film: film{ships: []ship{{lines: [][]phase{{{}}, {{}}, {{}, {at: 700, is: dead}}, {{}}}}}}, verdict: Stalled, class: HalfOpen, stalled: 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.film.seconds = 1500
			rec := snapshots(tt.film.roll(), fiveMinutes, tt.reboot)
			v := Judge(rec, Defaults())
			if v.Verdict != tt.verdict || v.Class != tt.class || !strings.Contains(v.Summary, tt.says) || (v.Confidence == Low) != tt.low {
				t.Errorf("%q, class %q, confidence %q: %s; want %q, class %q with %q\n%+v", v.Verdict, v.Class, v.Confidence, v.Summary, tt.verdict, tt.class, tt.says, v.Findings)
			}
			if v.Series == nil || v.Series.Snapshots != 6 || v.Series.Every.Round(time.Second) != 5*time.Minute {
				t.Fatalf("series %+v", v.Series)
			}
			if v.Series.Stalled != tt.stalled {
				t.Errorf("%d snapshots show the stall, want %d", v.Series.Stalled, tt.stalled)
			}
			if len(v.Shippers) == 0 && v.Thresholds.Fresh < 5*time.Minute {
				t.Errorf("thresholds %+v do not show how far apart the snapshots were", v.Thresholds)
			}
			for _, one := range append([]Verdict{v}, v.Shippers...) {
				for _, f := range slices.Concat(one.Gates, one.Findings) {
					if len(f.Records) == 0 {
						t.Errorf("finding %q rests on no record: %s", f.Rule, f.Text)
					}
				}
			}
		})
	}
}

// Whatever the scenario and however far apart the snapshots: what never stalls is
// at no snapshot proven to, and what does at the end is, once two have seen it.
func TestSeriesOfScenarios(t *testing.T) {
	proven := 0
	for _, sc := range scenarios {
		if sc.film.torn || sc.film.step > 0 {
			continue // a snapshot is
		}
		whole := sc.film.roll()
		for _, every := range []int{7, 20, 31} {
			rec := snapshots(whole, every, 0)
			var v Verdict
			for i, k := range rec.Records {
				if k.End == nil {
					continue
				}
				part := *rec
				part.Records = rec.Records[:i+1]
				v = Judge(&part, Defaults())
				if sc.verdict == NotStalled && !sc.steps && proves(v) {
					t.Errorf("%s, every %ds: a stall is proven at %s: %s", sc.name, every, k.Mono-time.Hour, v.Summary)
				}
			}
			onset := max(sc.film.began(), 0)
			last := rec.Records[len(rec.Records)-1].Mono - time.Hour
			counted := !slices.ContainsFunc(sc.film.ships, func(s ship) bool { return len(s.mute) > 0 })
			if sc.stall && sc.class != IdleHalfOpen && sc.class != CloseWait && counted && last-onset >= Defaults().StallAfter+time.Duration(2*every)*time.Second {
				if !proves(v) {
					t.Errorf("%s, every %ds: not proven: %s: %s", sc.name, every, v.Verdict, v.Summary)
				}
				proven++
			}
		}
	}
	if proven < 20 {
		t.Errorf("only %d series of stalls", proven)
	}
}

func proves(v Verdict) bool {
	return slices.ContainsFunc(append([]Verdict{v}, v.Shippers...), func(v Verdict) bool {
		return v.Verdict == Stalled && v.Series != nil && v.Series.Stalled >= 2
	})
}

// A snapshot alone says what the kernel alone proves, and that it is alone.
func TestJudgeOneSnapshot(t *testing.T) {
	rec := snapshots(film{seconds: 60, ships: from10(dead)}.roll(), 1000, 0)
	v := Judge(rec, Defaults())
	if v.Series == nil || v.Series.Snapshots != 1 || v.Verdict == Stalled {
		t.Errorf("healthy: %q, %+v", v.Verdict, v.Series)
	}
	old := snapshots(film{seconds: 60, ships: from10(dead)}.roll(), 60, 0)
	alone := *old
	alone.Records = slices.DeleteFunc(slices.Clone(old.Records), func(k timeline.Record) bool { return k.Source == 1 })
	if v := Judge(&alone, Defaults()); v.Verdict != Stalled || v.Class != HalfOpen || v.Series.Stalled != 1 {
		t.Errorf("%q, class %q, %+v: %s", v.Verdict, v.Class, v.Series, v.Summary)
	}
}

// Where the receiver's packets come and what is sent is not acknowledged, one snapshot
// does not say that nothing waited until then.
func TestJudgeOneSnapshotOfOneWay(t *testing.T) {
	rec := snapshots(film{seconds: 60, ships: one(phase{}, phase{at: 40, is: blocked})}.roll(), 50, 0)
	rec.Records = slices.DeleteFunc(rec.Records, func(k timeline.Record) bool { return k.Source == 1 })
	for _, k := range rec.Records {
		if k.Sockets == nil {
			continue
		}
		for i := range k.Sockets.Sockets {
			s := &k.Sockets.Sockets[i]
			again := seenSocket(1, sentAgain(6, 800*ms))
			s.Timer, s.TimerIn, s.Retransmits, s.SendQ, s.Info = again.Timer, again.TimerIn, again.Retransmits, again.SendQ, again.Info
		}
	}
	if v := Judge(rec, Defaults()); v.Verdict != Inconclusive || !strings.Contains(v.Summary, "sent in vain for 12.") {
		t.Errorf("%q: %s", v.Verdict, v.Summary)
	}
}

// beside puts another host's snapshots into a series, each begun a while after.
func beside(a, b *timeline.Recording, after time.Duration) *timeline.Recording {
	h, other := *a.Header(), b.Header()
	h.Places = append(slices.Clone(h.Places), other.Places...)
	h.Merged = slices.Clone(h.Merged)
	shift := len(h.Merged)
	for _, s := range other.Merged {
		s.Host, s.BootID = "other", "other"
		h.Merged = append(h.Merged, s)
	}
	last := len(a.Records) - 1
	records := slices.Clone(a.Records[1:last])
	for _, k := range b.Records {
		if k.Source > 0 {
			k.Source, k.Mono, k.Time = k.Source+shift, k.Mono+after, k.Time.Add(after)
			records = append(records, k)
		}
	}
	slices.SortStableFunc(records, func(x, y timeline.Record) int { return cmp.Compare(x.Mono, y.Mono) })
	first, end := a.Records[0], a.Records[last]
	first.Header, end.Mono = &h, records[len(records)-1].Mono
	out := &timeline.Recording{Path: a.Path, Records: slices.Concat([]timeline.Record{first}, records, []timeline.Record{end})}
	for i := range out.Records {
		out.Records[i].N = uint64(i + 1)
	}
	return out
}

// The snapshots of another host, a shipper's or a receiver's, begun a little later
// each time, take nothing from a stall and add nothing to it.
func TestJudgeSeriesOfTwoHosts(t *testing.T) {
	for _, is := range []state{dead, silent, blocked, zero} {
		stalls := snapshots(film{seconds: 1500, ships: one(phase{}, phase{at: 700, is: is})}.roll(), fiveMinutes, 0)
		alone := Judge(stalls, Defaults())
		other := snapshots(film{seconds: 1500, ships: []ship{{place: "filebeat@other", lines: [][]phase{{{}}}}}}.roll(), fiveMinutes, 0)
		receiver := snapshots(film{seconds: 1500, ships: []ship{{place: "logstash", blind: true, mute: []int{0, 9999}, lines: [][]phase{{{}}}}}, far: true}.roll(), fiveMinutes, 0)
		for _, k := range receiver.Records {
			if k.Header != nil {
				k.Header.Places = []timeline.Place{{Name: "logstash", Role: timeline.Receiver}}
			}
		}
		for name, rec := range map[string]*timeline.Recording{"a shipper's": other, "a receiver's": receiver} {
			v := Judge(beside(stalls, rec, 2*time.Second), Defaults())
			all := v.Series
			if len(v.Shippers) > 0 {
				if w := v.Shippers[1]; w.Verdict != NotStalled || w.Series.Snapshots != 6 || w.Series.Stalled != 0 {
					t.Errorf("beside %s: the other one is %q, series %+v: %s", name, w.Verdict, w.Series, w.Summary)
				}
				v = v.Shippers[0]
			}
			if v.Verdict != Stalled || v.Class != alone.Class || v.Series == nil || *v.Series != *alone.Series {
				t.Errorf("state %d beside %s: %q, class %q, series %+v: %s; alone %q, class %q, series %+v", is, name, v.Verdict, v.Class, v.Series, v.Summary, alone.Verdict, alone.Class, alone.Series)
			}
			if all == nil || all.Snapshots != 6 || all.Every.Round(time.Second) != 5*time.Minute {
				t.Errorf("beside %s: series of all %+v", name, all)
			}
		}
	}
}

// A shipper that the last snapshots of its host do not have any more is not said to
// stall until today.
func TestJudgeSeriesWithoutShipper(t *testing.T) {
	rec := snapshots(film{seconds: 1500, ships: one(phase{}, phase{at: 700, is: silent})}.roll(), fiveMinutes, 0)
	last := len(rec.Header().Merged)
	rec.Records = slices.DeleteFunc(rec.Records, func(k timeline.Record) bool { return k.Source == last && k.Stats != nil })
	for i, k := range rec.Records {
		switch {
		case k.Source != last:
		case k.Header != nil:
			k.Header.Places = []timeline.Place{{Name: "vector", Role: timeline.Shipper}}
		case k.Sockets != nil:
			rec.Records[i].Sockets = &timeline.Sockets{At: "vector", Via: "diag", Readings: 1}
		}
	}
	if v := Judge(rec, Defaults()); v.Verdict == Stalled || v.Series.Snapshots != 6 {
		t.Errorf("%q, series %+v: %s", v.Verdict, v.Series, v.Summary)
	}
}
