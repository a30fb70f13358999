// Package beatstats reads the counters that log shippers and their receivers
// publish over HTTP (Beats, Logstash, Fluentd, Fluent Bit), under names that
// stay the same whatever version answers, and checks the settings of a shipper
// for those that decide how it behaves when its peer falls silent.
//
// Parse… reads a body, a Client fetches one; Lint judges settings that
// ParseSettings read. Nothing here subtracts one sample from another.
package beatstats

import (
	"reflect"
	"time"
)

// The kinds of service whose counters can be read.
const (
	Beat      = "beat"       // Filebeat and its siblings, GET /stats
	Logstash  = "logstash"   // GET /_node/stats
	Fluentd   = "fluentd"    // in_monitor_agent, GET /api/plugins.json
	FluentBit = "fluent-bit" // GET /api/v2/metrics/prometheus, before Fluent Bit 2 /api/v1/metrics
)

// Value is one number of a body. A reading that was absent, or null, has no
// Value: a nil pointer, never zero.
type Value struct {
	N int64 `json:"n"`
	// Key is the path the number stood at, keys joined by dots. A number made
	// of several names them all: "a - b", "a + b".
	Key string `json:"key"`
	// Corrupt says why N must not be used: below zero, no integer, beyond 64
	// bits, given twice. N is then what could be read.
	Corrupt string `json:"corrupt,omitempty"`
}

// OK reports whether the value is there and can be used.
func (v *Value) OK() bool { return v != nil && v.Corrupt == "" }

// PipelineEvents is what one pipeline of Logstash has taken in and passed on, events.
type PipelineEvents struct {
	Name string `json:"name"`
	In   *Value `json:"in,omitempty"`
	Out  *Value `json:"out,omitempty"`
}

// Sample is the counters of one service at one moment. What the service does
// not publish is nil. Counters start at zero when the service starts (Epoch).
type Sample struct {
	Kind    string         `json:"kind"`              // Beat, Logstash, Fluentd or FluentBit
	Name    string         `json:"name,omitempty"`    // "filebeat"; the node name of Logstash
	Version string         `json:"version,omitempty"` // "8.12.0"
	ID      string         `json:"ephemeral_id,omitempty"`
	Uptime  *time.Duration `json:"uptime_ns,omitempty"`
	Output  string         `json:"output,omitempty"` // the shipper's output: "logstash", or plugin names joined by ", "

	// The shipper's output: events, except where a unit is named.
	Acked      *Value `json:"acked,omitempty"`      // confirmed by the receiver
	Total      *Value `json:"total,omitempty"`      // handed to the output, repeats included
	Active     *Value `json:"active,omitempty"`     // sent and not yet confirmed, a gauge
	Failed     *Value `json:"failed,omitempty"`     // to be sent again; Fluentd: chunks rolled back; Fluent Bit: chunks given up
	Dropped    *Value `json:"dropped,omitempty"`    // lost for good
	Duplicates *Value `json:"duplicates,omitempty"` // refused by the receiver as known
	Batches    *Value `json:"batches,omitempty"`    // batches sent; Fluentd: chunk writes begun
	Retries    *Value `json:"retries,omitempty"`    // Beats: events sent back to the queue; else attempts. Fluentd before v1 resets it

	WriteBytes  *Value `json:"write_bytes,omitempty"`
	WriteErrors *Value `json:"write_errors,omitempty"`
	ReadBytes   *Value `json:"read_bytes,omitempty"` // 6 a tick is Logstash's keep-alive ACK 0
	ReadErrors  *Value `json:"read_errors,omitempty"`

	Latency       *Latency `json:"latency,omitempty"`        // of writes since the service started
	RecentLatency *Latency `json:"recent_latency,omitempty"` // of writes since anybody last read the page: latency_delta, 9.2

	// The shipper's queue.
	Published *Value `json:"published,omitempty"` // events accepted into the queue
	// Pending is the depth, a gauge: events waiting for confirmation. Beats:
	// queue.filled.events, else pipeline.events.active, else published less
	// acked; in a log pipeline.events.active. Fluentd and Fluent Bit count
	// chunks, Logstash only a persisted queue.
	Pending       *Value `json:"pending,omitempty"`
	PendingBytes  *Value `json:"pending_bytes,omitempty"`  // Fluentd, Fluent Bit, Logstash
	Capacity      *Value `json:"capacity,omitempty"`       // events the queue can hold, Beats since 7.13
	CapacityBytes *Value `json:"capacity_bytes,omitempty"` // of a disk queue

	// The shipper's process and inputs.
	Clients           *Value `json:"clients,omitempty"` // inputs connected to the queue
	Goroutines        *Value `json:"goroutines,omitempty"`
	MemoryBytes       *Value `json:"memory_bytes,omitempty"` // resident set; Logstash: heap in use
	Handles           *Value `json:"handles,omitempty"`      // open descriptors
	HarvestersRunning *Value `json:"harvesters_running,omitempty"`
	HarvestersStarted *Value `json:"harvesters_started,omitempty"`
	HarvestersClosed  *Value `json:"harvesters_closed,omitempty"`
	OpenFiles         *Value `json:"open_files,omitempty"`
	RegistrarStates   *Value `json:"registrar_states,omitempty"` // files remembered
	RegistrarWrites   *Value `json:"registrar_writes,omitempty"` // times the registry was written
	RegistrarFailures *Value `json:"registrar_failures,omitempty"`

	// The receiver (Logstash): its inputs that hold connections, taken
	// together, and its events as a whole.
	Connections     *Value           `json:"connections,omitempty"` // open now, a gauge
	PeakConnections *Value           `json:"peak_connections,omitempty"`
	Received        *Value           `json:"received,omitempty"`      // events those inputs passed on
	QueuePush       *Value           `json:"queue_push_ms,omitempty"` // time those inputs waited for the queue, milliseconds
	EventsIn        *Value           `json:"events_in,omitempty"`     // Fluentd, Fluent Bit: records of all inputs
	EventsOut       *Value           `json:"events_out,omitempty"`
	Pipelines       []PipelineEvents `json:"pipelines,omitempty"` // Logstash, by name, 64 at most
	// Backpressure is the share of time inputs waited for the queue, summed
	// over inputs: flow.queue_backpressure.current, Logstash 8.5 and later.
	Backpressure *float64 `json:"backpressure,omitempty"`

	// Logged is set where the sample is made of lines of the service's log.
	Logged *Logged `json:"logged,omitempty"`

	// Notes are doubts about the body: faults of the release that sent it,
	// numbers passed over, bytes that are no UTF-8.
	Notes []string `json:"notes,omitempty"`
}

// Corrupt lists the values that must not be used.
func (s Sample) Corrupt() (bad []*Value) {
	for _, f := range reflect.ValueOf(s).Fields() {
		if v, ok := f.Interface().(*Value); ok && v != nil && v.Corrupt != "" {
			bad = append(bad, v)
		}
	}
	return bad
}
