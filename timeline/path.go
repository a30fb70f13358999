package timeline

import (
	"net/netip"
	"slices"
	"time"

	"halfopen/capture"
	"halfopen/fault"
	"halfopen/middlebox"
)

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
