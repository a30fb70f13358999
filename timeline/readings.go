package timeline

import (
	"slices"
	"time"

	"halfopen/beatstats"
	"halfopen/sockstate"
)

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
