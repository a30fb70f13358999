// Package timeline is the recording: one stream of one-of records, a header
// first, each on a line of its own as JSON. FORMAT.md describes the same on
// disk. Sources write it through collect; verdict and report only read it.
package timeline

import (
	"time"
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
