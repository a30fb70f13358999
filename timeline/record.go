// Package timeline is the recording: one stream of one-of records, a header
// first, each on a line of its own as JSON. FORMAT.md describes the same on
// disk. Sources write it through collect; verdict and report only read it.
package timeline

import (
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"halfopen/beatstats"
	"halfopen/capture"
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
	// Again marks a record that only repeats an earlier one, at the start of a
	// segment, so that the segment can be read alone.
	Again bool `json:"again,omitempty"`
	// Source and SourceN say where a record of a merged recording comes from: the
	// place of its recording in Header.Merged, from 1, and its number there.
	Source  int    `json:"source,omitempty"`
	SourceN uint64 `json:"source_n,omitempty"`
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
	Track     *Track     `json:"track,omitempty"`
	Link      *Link      `json:"link,omitempty"`
	Fault     *Fault     `json:"fault,omitempty"`
	Drops     *Drops     `json:"drops,omitempty"`
	Rule      *Rule      `json:"rule,omitempty"`
	Capture   *Capture   `json:"capture,omitempty"`
	Packets   *Packets   `json:"packets,omitempty"`
	Canary    *Canary    `json:"canary,omitempty"`
	File      *File      `json:"file,omitempty"`
	Removed   *Removed   `json:"removed,omitempty"`
	Mark      *Mark      `json:"mark,omitempty"`
	Clock     *Clock     `json:"clock,omitempty"`
	Gap       *Gap       `json:"gap,omitempty"`
	Failure   *Failure   `json:"failure,omitempty"`
	End       *End       `json:"end,omitempty"`

	// Unknown holds a kind that this program does not know, as it was.
	Unknown *Unknown `json:"-"`
}

// Header is the first record of each segment: who recorded what, where, with
// which clocks.
type Header struct {
	Format     int      `json:"format"`
	Tool       string   `json:"tool"`               // program and version
	Experiment string   `json:"experiment"`         // first part of every file's name
	Snapshot   bool     `json:"snapshot,omitempty"` // one reading of everything, part of a series
	Command    []string `json:"command"`            // as typed
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

	// Synchronised and ClockError are what the kernel knew of its wall clock
	// (adjtimex(2)): whether something keeps it right, and by how much it is off at
	// most. Absent where the kernel was not asked or did not answer.
	Synchronised *bool          `json:"synchronised,omitempty"`
	ClockError   *time.Duration `json:"clock_error_ns,omitempty"`

	// Segment numbers the files of a recording that was cut into several; 0 is the
	// first. Later ones also say when the recording started, by both clocks.
	Segment     int           `json:"segment,omitempty"`
	Started     *time.Time    `json:"started,omitempty"`
	StartedMono time.Duration `json:"started_mono_ns,omitempty"`

	// Merged are the recordings that this one was put together from.
	Merged []Source `json:"merged,omitempty"`
}

// Source is a recording that went into a merged one.
type Source struct {
	Recording string `json:"recording"` // prefix of its files
	Host      string `json:"host"`
	BootID    string `json:"boot_id"`
	Snapshot  bool   `json:"snapshot,omitempty"`
	// Offset was added to its monotonic times to get those of the merged recording.
	Offset time.Duration `json:"offset_ns"`
	// WallOffset is what its own header's two clocks ask for more: not zero where a
	// host's wall clock was set between two of its recordings.
	WallOffset   time.Duration  `json:"wall_offset_ns,omitempty"`
	Synchronised *bool          `json:"synchronised,omitempty"`
	ClockError   *time.Duration `json:"clock_error_ns,omitempty"`
}

// Shipper is the name of the first place of a shipper; empty where there is none.
func (h Header) Shipper() string {
	for _, name := range h.Shippers() {
		return name
	}
	return ""
}

// Shippers are the names of the places of shippers, in the order of the header.
func (h Header) Shippers() (names []string) {
	for _, p := range h.Places {
		if p.Role == Shipper {
			names = append(names, p.Name)
		}
	}
	return names
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
	Started   = "started"
	Exited    = "exited"
	Restarted = "restarted" // its counters began anew; How says what shows it
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
	Also     []string           `json:"also,omitempty"`          // other places in the same network namespace
	Via      string             `json:"via"`                     // diag or procfs
	Readings int                `json:"readings"`                // how many readings this record stands for, at least 1
	Since    time.Duration      `json:"since_mono_ns,omitempty"` // Mono of the first of them, where there are several
	Sockets  []sockstate.Socket `json:"sockets"`
}

// Of reports whether the reading holds for a place.
func (s *Sockets) Of(place string) bool { return s.At == place || slices.Contains(s.Also, place) }

// Destroyed is the kernel's own notice of a socket's end, with its last state.
type Destroyed struct {
	At     string           `json:"at"`
	Also   []string         `json:"also,omitempty"` // as in Sockets
	Socket sockstate.Socket `json:"socket"`
}

// Owner is the process behind a socket that appeared.
type Owner struct {
	At    string   `json:"at"`
	Also  []string `json:"also,omitempty"` // as in Sockets
	Inode uint32   `json:"inode"`
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
	Also     []string           `json:"also,omitempty"` // as in Sockets
	Counters sockstate.Counters `json:"counters"`
}

// Logs says which bytes of an evidence file were copied from a log, and from
// where: byte for byte, the newlines among them.
type Logs struct {
	Name   string `json:"name"`         // filebeat, logstash, kernel
	File   string `json:"file"`         // evidence file, without folder
	Offset int64  `json:"offset_bytes"` // in File
	Bytes  int64  `json:"bytes"`
	Lines  int    `json:"lines"`
	// Source is the log: a path, "journal:UNIT", "container:NAME", "kmsg:". The
	// bytes begin at SourceOffset of the file with that inode, which is 0 for what
	// is no file; the offset then counts the bytes read.
	Source       string `json:"source,omitempty"`
	SourceInode  uint64 `json:"source_inode,omitempty"`
	SourceOffset int64  `json:"source_offset_bytes,omitempty"`
}

// Script is whose log it is that a command prints which runs beside a recording.
const Script = "script"

// Event is a log line that means something.
type Event struct {
	Name    string `json:"name"`    // whose log
	Pattern string `json:"pattern"` // which pattern of logtail, or of the user's own, matched
	Means   string `json:"means"`
	Line    string `json:"line"` // at most 1 KiB of it
	// Message is what Line wraps (JSON, or a container engine's time and stream), at
	// most 1 KiB of it; empty where Line is no wrapping.
	Message string `json:"message,omitempty"`
	// File and Offset are where the line begins in its copy among the evidence; no
	// File: it is not there, because the disk did not take it, or the line is the last
	// part of a message whose end never came.
	File   string `json:"file,omitempty"`
	Offset int64  `json:"offset_bytes"`
	// Source, SourceInode and SourceOffset are where it begins in the log, as in Logs.
	Source       string `json:"source,omitempty"`
	SourceInode  uint64 `json:"source_inode,omitempty"`
	SourceOffset int64  `json:"source_offset_bytes,omitempty"`
	// Logged is the line's own time, LoggedAs the same as it is written. Absent: the
	// line has none, and the record's own time is that of the reading.
	Logged   *time.Time `json:"logged,omitempty"`
	LoggedAs string     `json:"logged_as,omitempty"`
	// LoggedBy is "engine" where a container engine or journald stamped the line.
	LoggedBy string `json:"logged_by,omitempty"`
	// NoZone says that LoggedAs names no zone: it was taken for the recorder's own.
	NoZone bool   `json:"no_zone,omitempty"`
	Stream string `json:"stream,omitempty"` // stdout or stderr, where an engine tells
	// Past says that the line was written before the recording began.
	Past bool `json:"past,omitempty"`
}

// Conntrack is a reading of a place's connection tracking entries on the
// watched ports, folded like Sockets.
type Conntrack struct {
	At       string            `json:"at"`
	Also     []string          `json:"also,omitempty"` // as in Sockets
	Readings int               `json:"readings"`
	Since    time.Duration     `json:"since_mono_ns,omitempty"`
	Entries  []middlebox.Entry `json:"entries"`
}

// Track is the kernel's own notice of a change of its connection tracking.
type Track struct {
	At    string          `json:"at"`
	Also  []string        `json:"also,omitempty"` // as in Sockets
	Event middlebox.Event `json:"event"`
}

// Link is an interface by which watched connections leave a place, when first seen
// and whenever its state or what it has dropped changed.
type Link struct {
	At   string         `json:"at"`
	Also []string       `json:"also,omitempty"` // as in Sockets
	Link middlebox.Link `json:"link"`
}

// Of reports whether the record holds for a place.
func (l *Link) Of(place string) bool { return l.At == place || slices.Contains(l.Also, place) }

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

// Rule is a change of a place's packet filter, or a rule that was there when
// watching began.
type Rule struct {
	At     string               `json:"at"`
	Also   []string             `json:"also,omitempty"` // as in Sockets
	Change middlebox.RuleChange `json:"change"`
}

// Of reports whether the change holds for a place.
func (r *Rule) Of(place string) bool { return r.At == place || slices.Contains(r.Also, place) }

// Capture says that the packets of a place are captured from here on, or were
// until here.
type Capture struct {
	At   string   `json:"at"`
	Also []string `json:"also,omitempty"` // as in Sockets
	// Ended is set in the last one; the numbers are those since the first. Dropped
	// were lost by the kernel because they came faster than they were read, Odd had
	// no whole TCP header.
	Ended   bool   `json:"ended,omitempty"`
	Packets uint64 `json:"packets"`
	Dropped uint64 `json:"dropped"`
	Odd     uint64 `json:"odd,omitempty"`
	// Untold counts Packets that were not recorded, because there were too many.
	Untold uint64 `json:"untold,omitempty"`
}

// Packets is what a capture saw of a connection at one interface of a place, from
// the first packet of it on.
type Packets struct {
	At   string   `json:"at"`
	Also []string `json:"also,omitempty"` // as in Sockets
	capture.Connection
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

// Removed says that evidence files were removed because the recording was to keep
// no more.
type Removed struct {
	Names []string `json:"names"` // without folder
	Bytes int64    `json:"bytes"` // their size together
	Why   string   `json:"why"`
}

// Mark is a remark: of the experimenter's, or of the recorder's own.
type Mark struct {
	Text string `json:"text"`
	// Drop says that from here on (DropStart), or no more (DropEnd), packets are
	// dropped: halfopen did not make that rule, it was told.
	Drop string `json:"drop,omitempty"`
	// Called and CalledMono are when "halfopen mark" was called, by both clocks.
	Called     *time.Time    `json:"called,omitempty"`
	CalledMono time.Duration `json:"called_mono_ns,omitempty"`
}

// Drops of a Mark.
const (
	DropStart = "start"
	DropEnd   = "end"
)

// Clock is a step of the wall clock against the monotonic one.
type Clock struct {
	Step time.Duration `json:"step_ns"`
}

// Gap says that something is missing from the recording, and why.
type Gap struct {
	Source string `json:"source"`
	Lost   int64  `json:"lost"`            // records, or bytes of a log; -1 where unknown
	Lines  int64  `json:"lines,omitempty"` // of a log, where their number is known
	File   string `json:"file,omitempty"`  // of a log: which, as in Logs.Source
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
