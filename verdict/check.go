package verdict

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"halfopen/flow"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// Health is what a glance tells of a connection, of a shipper, of a host.
type Health string

// The states of health, the gravest first. What a glance can't tell is Untold,
// never guessed.
const (
	Stuck   Health = "stalled" // what waits has had no answer for long enough
	Untold  Health = "unknown" // the reason says why, and Next what would tell
	Healthy Health = "healthy" // what is sent is acknowledged
	Idle    Health = "idle"    // nothing waits
)

var graver = []Health{Stuck, Untold, Healthy, Idle}

func worse(a, b Health) int { return slices.Index(graver, a) - slices.Index(graver, b) }

// Checkup is what one reading of the shippers of a host tells, or a few.
type Checkup struct {
	Health  Health `json:"health"` // of the worst; with Partial no better than Untold
	Summary string `json:"summary"`
	// Time is that of the last reading; Over is from the first one to it, 0 where
	// there is one.
	Time     time.Time      `json:"time"`
	Over     time.Duration  `json:"over_ns"`
	Shippers []ShipperCheck `json:"shippers"`
	// Partial says what is missing because time ran out (Miss). The rest holds.
	Partial    []string   `json:"partial,omitempty"`
	Thresholds Thresholds `json:"thresholds"`
}

// ShipperCheck is one shipper.
type ShipperCheck struct {
	Name   string `json:"name"` // of its place
	What   string `json:"what,omitempty"`
	Health Health `json:"health"`
	Why    string `json:"why"`
	Class  Class  `json:"class,omitempty"`
	// Confidence is that of its worst connection.
	Confidence string `json:"confidence,omitempty"`
	// Stood is the longest that what waits on a connection has had no answer, at
	// least; absent where none is known to wait.
	Stood    *time.Duration `json:"stood_ns,omitempty"`
	Counters *CountersCheck `json:"counters,omitempty"` // absent where they could not be read
	// Count is the number of its connections by health, absent where its sockets were
	// not read; Connections are the worst of them, 64 at most.
	Count       map[Health]int `json:"count,omitzero"`
	Unacked     uint64         `json:"unacked_bytes"` // of all of them
	Connections []ConnCheck    `json:"connections,omitempty"`
	Next        string         `json:"next,omitempty"` // what to do, where it has no connection
	Notes       []string       `json:"notes,omitempty"`
}

// CountersCheck is what the last reading of the shipper's counters says, events.
// What they do not tell is absent.
type CountersCheck struct {
	Acked    *int64 `json:"acked,omitempty"`
	AckedBy  *int64 `json:"acked_by,omitempty"` // since the first reading
	Active   *int64 `json:"active,omitempty"`   // sent and not confirmed
	Pending  *int64 `json:"pending,omitempty"`
	Capacity *int64 `json:"capacity,omitempty"`
}

// ConnCheck is one connection, by its last reading.
type ConnCheck struct {
	Connection flow.Flow       `json:"connection"`
	State      sockstate.State `json:"state"`
	Health     Health          `json:"health"`
	Class      Class           `json:"class,omitempty"`
	// Confidence is Low where a path that is down for a moment would look the same,
	// or absent.
	Confidence string `json:"confidence,omitempty"`
	Why        string `json:"why"`
	// Stood is for how long, at least, what waits here has had no answer; absent
	// where nothing is known to wait.
	Stood *time.Duration `json:"stood_ns,omitempty"`

	Timer       sockstate.Timer `json:"timer"`
	TimerIn     time.Duration   `json:"timer_in_ns"`
	Retransmits uint32          `json:"retransmits"` // or unanswered probes, by the timer
	// From tcp_info, absent where only /proc was read.
	Backoff      *uint8         `json:"backoff,omitempty"`
	RTO          *time.Duration `json:"rto_ns,omitempty"`
	LastAck      *time.Duration `json:"last_ack_ns,omitempty"`
	LastSent     *time.Duration `json:"last_sent_ns,omitempty"`
	LastReceived *time.Duration `json:"last_received_ns,omitempty"`

	Unacked uint32  `json:"unacked_bytes"`          // sent or waiting to be
	Unsent  *uint32 `json:"unsent_bytes,omitempty"` // of these
	Unread  uint32  `json:"unread_bytes"`

	Ends []End  `json:"ends,omitempty"` // what could still end it
	Next string `json:"next,omitempty"` // what to do
}

// standing ranks connections of the same health: of what is stalled nobody knows
// for how long, it may be for longest.
func (c ConnCheck) standing() time.Duration {
	if c.Health == Stuck && c.Stood == nil {
		return math.MaxInt64
	}
	return deref(c.Stood)
}

// mostConns bounds a report: a host may have as many connections as ports.
const mostConns = 64

// Check says how the shippers of a recording are, by its first and last reading of
// each. Two readings a second apart prove nothing by themselves: what is called
// stalled is so by the kernel's own clocks, or by readings that are far enough
// apart.
func Check(rec *timeline.Recording, th Thresholds) Checkup {
	c := Checkup{Health: Untold, Shippers: []ShipperCheck{}, Thresholds: th, Time: rec.Records[0].Time.UTC()}
	for _, name := range rec.Header().Shippers() {
		g := newGlance(rec, name, th)
		c.Shippers = append(c.Shippers, g.shipper())
		c.Over = max(c.Over, g.over())
		c.Time = g.last.Time.UTC()
	}
	if len(c.Shippers) == 0 {
		c.Summary = "no shipper was looked at"
		return c
	}
	slices.SortStableFunc(c.Shippers, func(a, b ShipperCheck) int {
		return cmp.Or(worse(a.Health, b.Health), -cmp.Compare(deref(a.Stood), deref(b.Stood)))
	})
	c.Health = c.Shippers[0].Health
	if len(c.Shippers) == 1 {
		c.Summary = fmt.Sprintf("%s: %s", c.Shippers[0].Name, c.Shippers[0].brief())
		return c
	}
	c.Summary = fmt.Sprintf("%d shippers; %s", len(c.Shippers), c.parts())
	return c
}

// Miss notes what was not looked at in time: all that was seen may be well, and what
// was not is unknown.
func (c *Checkup) Miss(what string) {
	if len(c.Partial) == 0 {
		c.Summary = "not all was looked at; " + c.Summary
	}
	c.Partial = append(c.Partial, what)
	if worse(Untold, c.Health) < 0 {
		c.Health = Untold
	}
}

// parts lists the shippers by health; of those that are not well, why.
func (c Checkup) parts() string {
	var parts []string
	for _, s := range c.Shippers {
		if s.Health == Stuck || s.Health == Untold {
			parts = append(parts, fmt.Sprintf("%s is %s: %s", s.Name, s.Health, s.brief()))
		}
	}
	for _, h := range []Health{Healthy, Idle} {
		var names []string
		for _, s := range c.Shippers {
			if s.Health == h {
				names = append(names, s.Name)
			}
		}
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%s: %s", h, strings.Join(names, ", ")))
		}
	}
	return strings.Join(parts, "; ")
}

// brief is what matters most, in a line.
func (s ShipperCheck) brief() string {
	stood := s.Stood
	if len(s.Connections) > 0 {
		stood = s.Connections[0].Stood
	}
	if s.Health != Stuck || stood == nil {
		return s.Why
	}
	text := fmt.Sprintf("%s, no answer for at least %s", s.Class, round(*stood))
	if s.Confidence != "" {
		text += ", confidence " + s.Confidence
	}
	if c := s.Counters; c != nil && c.Pending != nil && *c.Pending > 0 && !strings.Contains(s.Why, waits(*c.Pending)) {
		text += ", " + waits(*c.Pending)
	}
	return text + ": " + s.Why
}

func deref(d *time.Duration) time.Duration {
	if d == nil {
		return -1
	}
	return *d
}
