// Package fault breaks the path of a connection, for a time and on purpose, and
// tells exactly what it did: a drop window.
//
// All rules stand in one nf_tables table that this process owns
// (NFT_TABLE_F_OWNER, Linux 5.12): nobody else can change it, and the kernel
// removes it with the process, kill -9 included. Other tables are never touched.
// What the kernel would keep is written into a Ledger first.
package fault

import (
	"time"

	"halfopen/middlebox"
)

// Names of steps. The first, but for that of a proxy, is one of the next six;
// from the second on only connections of before are met, until the last.
const (
	StepProxy  = "proxy"  // new connections pass through a proxy of ours; nothing is met yet
	StepDrop   = "drop"   // packets are dropped
	StepExpire = "expire" // connections over which nothing flows are forgotten
	StepFIN    = "fin"    // FIN and RST are dropped
	StepReset  = "reset"  // data is answered with RST
	StepWindow = "window" // the receiver's window is told to be zero
	StepAck0   = "ack0"   // the proxy passes nothing on, and tells clients to wait
	StepForget = "forget" // the connections of before are forgotten, their packets dropped
	StepHold   = "hold"   // the first step goes on for the connections of before alone
	StepPass   = "pass"   // everything passes again, the counters stay
	StepUndo   = "undo"   // everything passes again, for good
)

// Tables is what the names of all faults' nf_tables tables begin with.
const Tables = "halfopen-"

// Step is a change of the rules. It was made at one moment between Start and
// End, and holds until the next step.
type Step struct {
	Name string `json:"name"`

	// Start and End are readings of the wall clock just before the change was
	// sent to the kernel and just after the kernel acknowledged it.
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`

	Mono  time.Duration `json:"mono_ns"` // CLOCK_BOOTTIME at Start
	Took  time.Duration `json:"took_ns"` // from Start to End, whatever the wall clock did
	Known string        `json:"known"`   // how it is known, such as "kernel acknowledged the rules"

	// Rules are those that came into force, as commands of nft(8).
	Rules []string `json:"rules,omitempty"`

	// Changed is what else was changed, as a shell command: a sysctl.
	Changed string `json:"changed,omitempty"`

	// Deleted are the conntrack entries that were deleted, or expired, before
	// Start, while the rules of the step before still held.
	Deleted []middlebox.Entry `json:"deleted,omitempty"`
}

// Direction is the way of a packet.
type Direction string

// The two directions.
const (
	Toward Direction = "toward" // to a watched port
	From   Direction = "from"   // from a watched port
)

// Counter is what one rule has met: dropped, answered with a RST, or passed on
// with a window of zero.
type Counter struct {
	Rule      string    `json:"rule"` // as in Step.Rules
	Direction Direction `json:"direction"`
	Step      string    `json:"step"` // name of the step that brought the rule
	// Packets as the hook sees them: segments that the network card or GRO
	// merged count as one.
	Packets uint64 `json:"packets"`
	// Bytes with IP headers, without the link's; what leaves by an interface is
	// counted with the link's too.
	Bytes uint64 `json:"bytes"`
	// First and Last are when the first and the last of them came.
	First Seen `json:"first,omitzero"`
	Last  Seen `json:"last,omitzero"`
}

// Seen is the time of a packet, known by two readings of a counter: the last one
// before it and the first one after it. Zero where no packet came.
type Seen struct {
	After time.Time `json:"after"`
	By    time.Time `json:"by"`
}
