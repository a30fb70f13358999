package timeline

import (
	"encoding/json"
	"time"
)

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
	// Table has the rules of the "halfopen drop" that sent the mark, as nft names it
	// ("inet halfopen-4242-1").
	Table string `json:"table,omitempty"`
	// Called and CalledMono are when "halfopen mark" was called, by both clocks.
	Called     *time.Time    `json:"called,omitempty"`
	CalledMono time.Duration `json:"called_mono_ns,omitempty"`
	// Unwatched says that a packet filter is not watched, for want of rights.
	Unwatched bool `json:"unwatched,omitempty"`
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
