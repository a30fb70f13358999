// Package verdict judges a recording. It is pure: the same records give the same
// verdict, byte for byte, while a run goes on and years after.
package verdict

import (
	"slices"
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

// Low is the Confidence of a verdict that rests on one witness where two could be
// had, or on witnesses that disagree; a finding says which.
const Low = "low"

// Verdict is what the recording shows.
type Verdict struct {
	Verdict string `json:"verdict"`
	// Class is the kind of stall; empty where there is none. See class.go.
	Class      Class  `json:"class,omitempty"`
	Confidence string `json:"confidence,omitempty"` // Low, or absent
	Summary    string `json:"summary"`
	// Recording is the name of the timeline, without folder.
	Recording string `json:"recording"`
	// Shipper is the place that the verdict is on, where several were recorded.
	Shipper    string     `json:"shipper,omitempty"`
	Connection *flow.Flow `json:"connection,omitempty"`
	Receiver   *flow.Flow `json:"connection_at_receiver,omitempty"` // behind NAT another 4-tuple
	Window     *Window    `json:"window,omitempty"`
	Stall      *Stall     `json:"stall,omitempty"`
	Recovery   *Recovery  `json:"recovery,omitempty"`
	Lag        *Lag       `json:"lag,omitempty"`
	Series     *Series    `json:"series,omitempty"` // of a series of snapshots
	Ends       []End      `json:"ends,omitempty"`   // what could still end the stall
	Gates      []Finding  `json:"gates,omitempty"`
	Criteria   []Finding  `json:"criteria,omitempty"`
	Findings   []Finding  `json:"findings,omitempty"`
	Settings   []Setting  `json:"settings,omitempty"` // what the lint says that matters here
	Warnings   []string   `json:"warnings,omitempty"`
	Thresholds Thresholds `json:"thresholds"`
	// Shippers are the verdicts on each shipper, where several were recorded. The
	// others then say what holds for all: the worst verdict, and its class.
	Shippers []Verdict `json:"shippers,omitempty"`
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
	// End is absent in a recording that was cut short before it, and where only the
	// start is known.
	End *time.Time `json:"end,omitempty"`
	// StartWithin and EndWithin are how much earlier it may have begun, and how much
	// later it may have ended.
	StartWithin time.Duration `json:"start_within_ns,omitempty"`
	EndWithin   time.Duration `json:"end_within_ns,omitempty"`
	// Known says how: the fault's own record, marks, packet filter rules, conntrack,
	// or inferred from the acks.
	Known   string   `json:"known"`
	Rules   []string `json:"rules,omitempty"`   // of the packet filter, that made it
	Packets *uint64  `json:"packets,omitempty"` // really dropped, both ways
	Bytes   *uint64  `json:"bytes,omitempty"`
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

// judge is a judgement under way.
type judge struct {
	*run
	th  Thresholds
	v   Verdict
	all []*view // of every connection that was captured
}

// decide walks the gates in order; the first that is shut ends it.
func (j *judge) decide() {
	j.v.Window = j.window()
	at := j.last.Mono
	if j.cut != nil {
		at = j.cut.start
	}
	var of int
	if j.conn, of = j.pick(at); of > 1 {
		j.warnf("%d connections were ESTABLISHED; the one that had delivered most is judged", of)
	}
	switch {
	case j.cut == nil && j.header.Method != "" && j.header.Method != timeline.MethodNone:
		if j.delivers() {
			j.gate(holds("window", false, "the run ended before the path was cut", j.last.N))
		}
	case j.cut == nil && j.end != nil && j.end.Reason == timeline.EndError:
		j.gate(holds("baseline", false, "the recording ended in an error: "+j.end.Error, j.last.N))
	case j.cut == nil:
		j.judgeUncut()
	case j.deadUncounted():
	case !j.baseline() || !j.windowGate():
	case j.recovered():
	case !j.met() || !j.horizon():
	default:
		j.judgeStall()
	}
	j.judged()
	j.uncounted()
	j.tellPackets()
	j.tellRestarts()
	j.ended()
	j.ruled()
	j.forgotten()
	j.linked()
	j.lag()
	j.tellSeries()
	j.notes()
}

func (j *judge) conclude(verdict, summary string) {
	j.v.Verdict, j.v.Summary = verdict, summary
}

func (j *judge) find(rule, text string, records ...uint64) {
	j.v.Findings = append(j.v.Findings, Finding{Rule: rule, Text: text, Records: slices.Compact(records)})
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
