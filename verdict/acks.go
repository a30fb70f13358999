package verdict

import (
	"fmt"
	"time"

	"halfopen/beatstats"
	"halfopen/timeline"
)

// progress is a pair of successive readings between which acks moved.
type progress struct {
	fromN, toN uint64
	from, to   time.Duration
	n          int64 // events
}

// progresses lists when acks moved. A restart of the shipper starts its counters
// again: what they show then is progress if it is more than nothing.
func (r *run) progresses() (list []progress) {
	var prev *reading[*timeline.Stats]
	for i := range r.acks {
		cur := &r.acks[i]
		if !cur.body.Sample.Acked.OK() {
			continue
		}
		if prev != nil {
			if n := grown(prev.body.Sample, cur.body.Sample); n > 0 {
				list = append(list, progress{fromN: prev.n, toN: cur.n, from: prev.at, to: cur.at, n: n})
			}
		}
		prev = cur
	}
	return list
}

// restart is the first restart of the shipper that its counters show after from,
// and not after to.
func (r *run) restart(from, to time.Duration) (why string, n uint64, ok bool) {
	for i := 1; i < len(r.acks); i++ {
		why, restarted := beatstats.Epoch(r.acks[i-1].body.Sample, r.acks[i].body.Sample)
		if restarted && r.acks[i].at > from && r.acks[i].at <= to {
			return why, r.acks[i].n, true
		}
	}
	return "", 0, false
}

// lastBefore is one value of the shipper's counters by the last reading not after t
// that has it, and that reading's record.
func (r *run) lastBefore(t time.Duration, value func(beatstats.Sample) *beatstats.Value) (v int64, n uint64, ok bool) {
	for _, a := range r.acks {
		if a.at > t {
			break
		}
		if x := value(a.body.Sample); x.OK() {
			v, n, ok = x.N, a.n, true
		}
	}
	return v, n, ok
}

func acked(s beatstats.Sample) *beatstats.Value    { return s.Acked }
func pending(s beatstats.Sample) *beatstats.Value  { return s.Pending }
func capacity(s beatstats.Sample) *beatstats.Value { return s.Capacity }

const neverDelivered = "never delivered: the shipper's acked counter was 0 from the first reading to the last"

// delivers is the first half of the gate "baseline": anything was ever
// acknowledged.
func (j *judge) delivers() bool {
	if why, records, ok := j.unreadable(); !ok && (len(j.acks) == 0 || !j.anyAcked()) {
		return j.gate(holds("baseline", false, why, records...))
	}
	if j.neverAcked() {
		text, records := neverDelivered+j.partyGone(j.last.Mono), []uint64{j.acks[0].n, j.acks[len(j.acks)-1].n}
		if cause, n, ok := j.settingsCause(); ok {
			text, records = text+"; "+cause, append(records, n)
		}
		return j.gate(holds("baseline", false, text, records...))
	}
	return true
}

// anyAcked reports whether the counters ever told how many events were acknowledged.
func (j *judge) anyAcked() bool {
	_, _, ok := j.lastBefore(j.last.Mono, acked)
	return ok
}

// settingsCause is the setting that keeps the shipper from ever delivering. One
// that runs, as its counters show, was started with its settings: of its errors
// the timeout of 0 comes first.
func (j *judge) settingsCause() (string, uint64, bool) {
	var cause beatstats.Finding
	var n uint64
	for _, s := range j.settings {
		for _, f := range s.body.Findings {
			if f.Level == beatstats.LevelError && (n == 0 || f.Rule == "timeout-zero" && cause.Rule != f.Rule) {
				cause, n = f, s.n
			}
		}
	}
	return fmt.Sprintf("the cause is the setting %s: %s; %s", cause.Named(), cause.What, cause.Why), n, n != 0
}

// baseline: acks moved until the cut, on a connection that was up.
func (j *judge) baseline() bool {
	if !j.delivers() {
		return false
	}
	var last *progress
	for _, p := range j.progresses() {
		if p.to <= j.cut.start+j.th.Settle {
			last = &p
		}
	}
	if last == nil {
		return j.gate(holds("baseline", false, "acks did not move before the cut while they were watched", j.acks[0].n, j.cut.startN))
	}
	if stood := j.cut.start - last.to; stood > j.th.Fresh {
		return j.gate(holds("baseline", false, fmt.Sprintf("acks had stood still for %s already when the path was cut%s", round(stood), j.partyGone(j.cut.start)), last.toN, j.cut.startN))
	}
	if j.conn == nil {
		return j.gate(holds("baseline", false, "the shipper had no ESTABLISHED connection when the path was cut"+j.partyGone(j.cut.start), j.cut.startN))
	}
	n, record, _ := j.lastBefore(j.cut.start, acked)
	return j.gate(holds("baseline", true, fmt.Sprintf("events were delivered until the cut: acked was %d at the last reading before it", n), record, j.cut.startN))
}

// partyGone adds who had exited before t.
func (j *judge) partyGone(t time.Duration) string {
	for _, p := range j.parties {
		if p.body.Change == timeline.Exited && p.at < t {
			return fmt.Sprintf("; %s had exited at %s%s", p.body.Name, j.clock(p.at), how(p.body.How))
		}
	}
	return ""
}
