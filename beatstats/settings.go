package beatstats

import (
	"net"
	"strconv"
	"time"
)

// Settings is the part of a filebeat.yml that decides what Filebeat does when
// its peer falls silent. A pointer is nil where the file does not set it, or
// sets it to something only known at run time ("${…}").
type Settings struct {
	Output      string         `json:"output,omitempty"` // "logstash", "elasticsearch"…; "" if the file enables none
	Hosts       []string       `json:"hosts,omitempty"`
	Timeout     *time.Duration `json:"timeout_ns,omitempty"`    // default 30 s
	TTL         *time.Duration `json:"ttl_ns,omitempty"`        // default 0: none
	Pipelining  *int           `json:"pipelining,omitempty"`    // batches in flight, default 2
	Worker      *int           `json:"worker,omitempty"`        // connections a host, default 1
	LoadBalance *bool          `json:"loadbalance,omitempty"`   // default false
	BulkMaxSize *int           `json:"bulk_max_size,omitempty"` // events, default 2048
	MaxRetries  *int           `json:"max_retries,omitempty"`

	QueueType   string `json:"queue_type,omitempty"`   // "mem" or "disk"; "" is mem
	QueueEvents *int   `json:"queue_events,omitempty"` // queue.mem.events, default 3200, before 8.11: 4096
	// FlushMinEvents is queue.mem.flush.min_events, default 1600, before 8.11: 2048.
	FlushMinEvents *int `json:"flush_min_events,omitempty"`

	HTTPEnabled *bool  `json:"http_enabled,omitempty"` // default false
	HTTPHost    string `json:"http_host,omitempty"`    // default localhost
	HTTPPort    *int   `json:"http_port,omitempty"`    // default 5066

	Inputs []Input `json:"inputs,omitempty"`

	at     map[string]entry // what each setting was read from, by its full name
	odd    []Finding        // what reading the file has found already
	policy string           // of an Elastic Agent policy, the output that was read
}

// Input is one entry of filebeat.inputs.
type Input struct {
	Type    string   `json:"type,omitempty"`
	Paths   []string `json:"paths,omitempty"`
	Enabled bool     `json:"enabled"`
	Line    int      `json:"line"`
}

// Defaults of Beats: libbeat/outputs/logstash/config.go and libbeat/api/config.go.
const (
	defaultOutputTimeout = 30 * time.Second
	defaultPipelining    = 2
	defaultBulkMaxSize   = 2048
	defaultHTTPHost      = "localhost"
	defaultHTTPPort      = 5066
)

// Endpoint is where the settings make Filebeat publish its counters, as
// NewClient takes it; on is false where they don't.
func (s Settings) Endpoint() (endpoint string, on bool) {
	if s.HTTPEnabled == nil || !*s.HTTPEnabled {
		return "", false
	}
	host := s.HTTPHost
	if host == "" {
		host = defaultHTTPHost
	}
	if e, err := ParseEndpoint(host); err == nil && e.Network == "unix" {
		return host, true
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = defaultHTTPHost
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(or(s.HTTPPort, defaultHTTPPort))), true
}

// or gives *p, or what the setting is by default.
func or[T any](p *T, byDefault T) T {
	if p == nil {
		return byDefault
	}
	return *p
}

// OutputTimeout is output.logstash.timeout: how long a write may take, and how
// long an ACK is waited for, counted anew with every byte read. Default 30 s.
func (s Settings) OutputTimeout() time.Duration { return or(s.Timeout, defaultOutputTimeout) }
