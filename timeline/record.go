// Package timeline is the recording: one stream of one-of records, a header
// first, each on a line of its own as JSON. FORMAT.md describes the same on
// disk. Sources write it through collect; verdict and report only read it.
package timeline

import (
	"encoding/json"
	"net/netip"
	"time"

	"halfopen/beatstats"
	"halfopen/fault"
	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/sockstate"
)

// Format is the version of the recording's format that this program writes.
// Readers accept it and every older one.
const Format = 1

// Record is one line of a recording: when, and exactly one body.
type Record struct {
	// N counts records from 1. A hole in the numbers is a loss; a Gap says why.
	N uint64 `json:"n"`
	// Time is the wall clock, UTC, when the reading was complete.
	Time time.Time `json:"time"`
	// Mono is CLOCK_BOOTTIME at the same moment, since boot. It orders the
	// records of one host and never runs backward, whatever the wall clock does.
	Mono time.Duration `json:"mono_ns"`
	// Took is how long the reading took; the thing read happened between
	// Mono-Took and Mono. Zero where nothing was read (a mark, a decision).
	Took time.Duration `json:"took_ns,omitempty"`
	Body
}

// Body is the one-of of a record: exactly one field is set.
type Body struct {
	Header    *Header    `json:"header,omitempty"`
	Party     *Party     `json:"party,omitempty"`
	Settings  *Settings  `json:"settings,omitempty"`
	Sockets   *Sockets   `json:"sockets,omitempty"`
	Destroyed *Destroyed `json:"destroyed,omitempty"`
	Owner     *Owner     `json:"owner,omitempty"`
	Stats     *Stats     `json:"stats,omitempty"`
	Kernel    *Kernel    `json:"kernel,omitempty"`
	Logs      *Logs      `json:"logs,omitempty"`
	Event     *Event     `json:"event,omitempty"`
	Conntrack *Conntrack `json:"conntrack,omitempty"`
	Fault     *Fault     `json:"fault,omitempty"`
	Drops     *Drops     `json:"drops,omitempty"`
	Canary    *Canary    `json:"canary,omitempty"`
	File      *File      `json:"file,omitempty"`
	Mark      *Mark      `json:"mark,omitempty"`
	Clock     *Clock     `json:"clock,omitempty"`
	Gap       *Gap       `json:"gap,omitempty"`
	Failure   *Failure   `json:"failure,omitempty"`
	End       *End       `json:"end,omitempty"`

	// Unknown holds a kind that this program does not know, as it was.
	Unknown *Unknown `json:"-"`
}

// Header is the first record: who recorded what, where, with which clocks.
type Header struct {
	Format     int      `json:"format"`
	Tool       string   `json:"tool"`       // program and version
	Experiment string   `json:"experiment"` // first part of every file's name
	Command    []string `json:"command"`    // as typed
	Host       string   `json:"host"`
	Kernel     string   `json:"kernel"`  // uname -r
	BootID     string   `json:"boot_id"` // /proc/sys/kernel/random/boot_id: recordings with the same one share the monotonic clock
	// Method is what was to be done to the path; empty where nothing was.
	Method string     `json:"method,omitempty"`
	Ports  flow.Ports `json:"ports"`
	Places []Place    `json:"places"`
	// Canary is the address that the canary connects from: a connection from
	// there is not the shipper's. Absent where there is no canary.
	Canary *netip.Addr `json:"canary,omitempty"`
}

// Shipper is the name of the first place of a shipper, which is the one that is
// judged; empty where there is none.
func (h Header) Shipper() string {
	for _, p := range h.Places {
		if p.Role == Shipper {
			return p.Name
		}
	}
	return ""
}

// Methods of a Header: what the lab does to the path.
const (
	MethodTransient = "c" // cut for a time, then the flow is forgotten
	MethodNone      = "none"
)

// Roles of a place.
const (
	Shipper  = "shipper"
	Receiver = "receiver"
	Router   = "router"
)

// Place is a network namespace that the recorder looks into.
type Place struct {
	Name    string             `json:"name"`            // names it in every other record
	Role    string             `json:"role"`            // shipper, receiver or router
	NetNS   uint64             `json:"netns,omitempty"` // nsfs inode
	Sysctls *sockstate.Sysctls `json:"sysctls,omitempty"`
}

// Party is a change in the life of a watched program.
type Party struct {
	Name    string   `json:"name"` // filebeat, logstash
	At      string   `json:"at"`   // place
	Change  string   `json:"change"`
	PID     int      `json:"pid,omitempty"`
	Command []string `json:"command,omitempty"`
	How     string   `json:"how,omitempty"` // of an exit: "exit status 1", "signal: killed"
	ByUs    bool     `json:"by_us,omitempty"`
}

// Changes of a Party.
const (
	Started = "started"
	Exited  = "exited"
)

// Settings is what a shipper was told, as far as it decides the experiment, and
// what the lint says of it.
type Settings struct {
	Name     string              `json:"name"` // filebeat
	File     string              `json:"file,omitempty"`
	Timeout  *time.Duration      `json:"timeout_ns,omitempty"` // output.logstash.timeout, where known
	Findings []beatstats.Finding `json:"findings,omitempty"`
}

// Sockets is a reading of a place's sockets on the watched ports, listeners
// among them. Readings that differ only in what ticks by itself (ages, time left
// on a timer) are folded: the record then stands for several, and holds the last.
type Sockets struct {
	At       string             `json:"at"`
	Via      string             `json:"via"`                     // diag or procfs
	Readings int                `json:"readings"`                // how many readings this record stands for, at least 1
	Since    time.Duration      `json:"since_mono_ns,omitempty"` // Mono of the first of them, where there are several
	Sockets  []sockstate.Socket `json:"sockets"`
}

// Destroyed is the kernel's own notice of a socket's end, with its last state.
type Destroyed struct {
	At     string           `json:"at"`
	Socket sockstate.Socket `json:"socket"`
}

// Owner is the process behind a socket that appeared.
type Owner struct {
	At    string `json:"at"`
	Inode uint32 `json:"inode"`
	// Process is absent where none was found: it ended meanwhile, or is one of
	// those whose descriptors the recorder may not list (Unreadable).
	Process    *sockstate.Owner `json:"process,omitempty"`
	Unreadable int              `json:"unreadable,omitempty"`
}

// Stats is a reading of a program's own counters.
type Stats struct {
	At       string           `json:"at"`
	Name     string           `json:"name"` // filebeat, logstash
	Endpoint string           `json:"endpoint"`
	Sample   beatstats.Sample `json:"sample"`
}

// Kernel is a reading of a place's TCP counters.
type Kernel struct {
	At       string             `json:"at"`
	Counters sockstate.Counters `json:"counters"`
}

// Logs says which bytes of an evidence file a read of a log added.
type Logs struct {
	Name   string `json:"name"`         // filebeat, logstash
	File   string `json:"file"`         // evidence file, without folder
	Offset int64  `json:"offset_bytes"` // in File
	Bytes  int64  `json:"bytes"`
	Lines  int    `json:"lines"`
}

// Event is a log line that means something.
type Event struct {
	Name    string     `json:"name"`    // whose log
	Pattern string     `json:"pattern"` // which pattern of logtail matched
	Means   string     `json:"means"`
	Line    string     `json:"line"` // at most 1 KiB of it
	File    string     `json:"file"`
	Offset  int64      `json:"offset_bytes"`
	Logged  *time.Time `json:"logged,omitempty"` // the line's own time, where it has one
}

// Conntrack is a reading of a place's connection tracking entries on the
// watched ports, folded like Sockets.
type Conntrack struct {
	At       string            `json:"at"`
	Readings int               `json:"readings"`
	Since    time.Duration     `json:"since_mono_ns,omitempty"`
	Entries  []middlebox.Entry `json:"entries"`
}

// Fault is a step of an injected fault, written when it is done.
type Fault struct {
	At     string     `json:"at"`
	Method string     `json:"method"`
	Step   fault.Step `json:"step"`
}

// Drops is a reading of the counters of the fault's rules.
type Drops struct {
	At       string          `json:"at"`
	Counters []fault.Counter `json:"counters"`
}

// Canary is the end of a fresh connection that tried the path; never the
// shipper's own.
type Canary struct {
	From   netip.Addr     `json:"from"`
	To     netip.AddrPort `json:"to"`
	Passed bool           `json:"passed"`
	Error  string         `json:"error,omitempty"`
}

// File says that an evidence file was written.
type File struct {
	Name string `json:"name"` // without folder
	What string `json:"what"`
}

// Mark is a remark of the experimenter's.
type Mark struct {
	Text string `json:"text"`
}

// Clock is a step of the wall clock against the monotonic one.
type Clock struct {
	Step time.Duration `json:"step_ns"`
}

// Gap says that something is missing from the recording, and why.
type Gap struct {
	Source string `json:"source"`
	Lost   int64  `json:"lost"` // records, or bytes of a log; -1 where unknown
	Why    string `json:"why"`
}

// Failure is a reading that could not be had.
type Failure struct {
	Source string `json:"source"`
	Error  string `json:"error"`
}

// End is the last record. A recording without it was cut short.
type End struct {
	Reason string `json:"reason"`
	Error  string `json:"error,omitempty"`
}

// Reasons of an End.
const (
	EndDone        = "done"
	EndInterrupted = "interrupted" // by Ctrl-C or a signal
	EndError       = "error"
)

// Unknown is the body of a record that a newer program wrote.
type Unknown struct {
	Kind string
	Raw  json.RawMessage
}
