package timeline

import (
	"net/netip"
	"time"

	"halfopen/flow"
	"halfopen/sockstate"
)

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
