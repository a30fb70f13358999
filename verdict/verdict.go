// Package verdict judges a recording. It is pure: the same records give the same
// verdict, byte for byte, while a run goes on and years after.
package verdict

import (
	"path/filepath"
	"time"

	"halfopen/flow"
	"halfopen/timeline"
)

// The verdicts.
const (
	Reproduced   = "reproduced"   // a cut, the path open again, and the connection stalled until the end
	Recovered    = "recovered"    // a cut, and acks moved again afterwards
	Stalled      = "stalled"      // no cut known, but work is pending and nothing is acknowledged
	NotStalled   = "not stalled"  // no cut, and acks move
	Inconclusive = "inconclusive" // something is missing that a verdict needs
)

// Thresholds are the judge's limits.
type Thresholds struct {
	// Fresh: an ack is recent if it is not older. Filebeat flushes once a second
	// by default and its counters are read once a second.
	Fresh time.Duration `json:"fresh_ns"`
	// Settle: acks that move so soon after the path was cut were under way; the
	// counters are read once a second.
	Settle time.Duration `json:"settle_ns"`
	// Horizon: how long a stall must be watched after the path came back.
	Horizon time.Duration `json:"horizon_ns"`
	// StallAfter: without a known cut, how long acks must stand still with work
	// pending. Filebeat's own default timeout is 30 s.
	StallAfter time.Duration `json:"stall_after_ns"`
}

// Defaults are the thresholds that the program uses.
func Defaults() Thresholds {
	return Thresholds{Fresh: 5 * time.Second, Settle: 2 * time.Second, Horizon: 30 * time.Second, StallAfter: 30 * time.Second}
}

// Verdict is what the recording shows.
type Verdict struct {
	Verdict string `json:"verdict"`
	// Class is the kind of stall; empty where there is none. See class.go.
	Class   Class  `json:"class,omitempty"`
	Summary string `json:"summary"`
	// Recording is the name of the timeline, without folder.
	Recording  string     `json:"recording"`
	Connection *flow.Flow `json:"connection,omitempty"`
	Receiver   *flow.Flow `json:"connection_at_receiver,omitempty"` // behind NAT another 4-tuple
	Window     *Window    `json:"window,omitempty"`
	Stall      *Stall     `json:"stall,omitempty"`
	Recovery   *Recovery  `json:"recovery,omitempty"`
	Ends       []End      `json:"ends,omitempty"` // what could still end the stall
	Gates      []Finding  `json:"gates,omitempty"`
	Criteria   []Finding  `json:"criteria,omitempty"`
	Findings   []Finding  `json:"findings,omitempty"`
	Warnings   []string   `json:"warnings,omitempty"`
	Thresholds Thresholds `json:"thresholds"`
}

// Finding is one reason, with the numbers of the records it rests on.
type Finding struct {
	Rule    string   `json:"rule"`
	Holds   *bool    `json:"holds,omitempty"` // of gates and criteria; absent: can't be told
	Text    string   `json:"text"`
	Records []uint64 `json:"records,omitempty"`
}

// Window is the time during which the path dropped packets.
type Window struct {
	Start time.Time `json:"start"`
	// End is absent in a recording that was cut short before it.
	End *time.Time `json:"end,omitempty"`
	// Known says how: the fault's own record.
	Known   string  `json:"known"`
	Packets *uint64 `json:"packets,omitempty"` // really dropped, both ways
	Bytes   *uint64 `json:"bytes,omitempty"`
}

// Stall is the time without acknowledgement.
type Stall struct {
	LastRead time.Time     `json:"last_read"` // when the kernel last received data on the connection
	For      time.Duration `json:"for_ns"`    // until the end of the recording, or of the stall
	// AfterPath is how much of it was watched after the path carried new
	// connections again.
	AfterPath time.Duration `json:"after_path_ns,omitempty"`
}

// Recovery is how the stall ended.
type Recovery struct {
	By string `json:"by"`
	// ClosedAfter is from the last data read on the old connection to its end;
	// absent where that connection lived on.
	ClosedAfter *time.Duration `json:"closed_after_last_read_ns,omitempty"`
	// AcksAgain is when acks were first seen to move again (a reading a second).
	AcksAgain time.Time     `json:"acks_again"`
	Stood     time.Duration `json:"acks_stood_still_ns"`
}

// End is something that would end the stall, and when.
type End struct {
	By       string     `json:"by"`
	Earliest *time.Time `json:"earliest,omitempty"` // absent: never, or not known
	Latest   *time.Time `json:"latest,omitempty"`
	Text     string     `json:"text"`
}

// Judge judges a recording.
func Judge(rec *timeline.Recording, th Thresholds) Verdict {
	r := read(rec)
	j := judge{run: r, th: th, v: Verdict{Recording: filepath.Base(rec.Path), Thresholds: th}}
	j.decide()
	j.warn(rec)
	return j.v
}

// judge is a judgement under way.
type judge struct {
	*run
	th Thresholds
	v  Verdict
}

// decide walks the gates in order; the first that is shut ends it.
func (j *judge) decide() {
	j.v.Window = j.window()
	j.pick()
	switch {
	case j.cut == nil && !j.delivers():
	case j.cut == nil && j.header.Method != "" && j.header.Method != timeline.MethodNone:
		j.gate(holds("window", false, "the run ended before the path was cut", j.last.N))
	case j.cut == nil && j.end != nil && j.end.Reason == timeline.EndError:
		j.gate(holds("baseline", false, "the recording ended in an error: "+j.end.Error, j.last.N))
	case j.cut == nil:
		j.judgeOpenPath()
	case !j.baseline() || !j.windowGate():
	case j.recovered():
	case !j.met() || !j.horizon():
	default:
		j.judgeStall()
	}
}

func (j *judge) conclude(verdict, summary string) {
	j.v.Verdict, j.v.Summary = verdict, summary
}

func (j *judge) find(rule, text string, records ...uint64) {
	j.v.Findings = append(j.v.Findings, Finding{Rule: rule, Text: text, Records: records})
}

func holds(rule string, yes bool, text string, records ...uint64) Finding {
	return Finding{Rule: rule, Holds: &yes, Text: text, Records: records}
}

// gate notes a gate and reports whether it is open. A shut one makes the verdict
// inconclusive.
func (j *judge) gate(f Finding) bool {
	j.v.Gates = append(j.v.Gates, f)
	if !*f.Holds {
		j.conclude(Inconclusive, f.Text)
	}
	return *f.Holds
}
