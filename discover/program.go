// Package discover finds the programs of a host that ship logs, or receive them:
// their processes, connections, counters, settings and logs, and says how it
// knows each.
//
// What a process says of itself (its arguments, its settings, the files in its
// root) may be another user's, or a container's: it is read within bounds, below
// /proc/PID/root, and is never more than a hint of where to look.
package discover

import (
	"context"

	"halfopen/beatstats"
	"halfopen/container"
	"halfopen/flow"
	"halfopen/sockstate"
)

// The kinds of a Program.
const (
	Filebeat  = "filebeat"
	Logstash  = "logstash"
	Fluentd   = "fluentd"
	FluentBit = "fluent-bit"
	Vector    = "vector"
	Unknown   = "unknown" // known only by its sockets on watched ports, or because it was named
)

// The roles of a Program. One that both receives and ships is a shipper, but for
// Logstash.
const (
	Shipper  = "shipper"
	Receiver = "receiver"
)

// Program is one process that ships or receives logs.
type Program struct {
	Kind string `json:"kind"`
	Role string `json:"role"`
	// PID is the process; 0 stands for those that hold Connections and can't be
	// seen for want of rights.
	PID int `json:"pid,omitempty"`
	// StartTime is in clock ticks of USER_HZ since boot (proc_pid_stat(5)); with
	// PID it names the process for good.
	StartTime uint64   `json:"start_time_ticks,omitempty"`
	Name      string   `json:"name,omitempty"`    // comm, at most 15 bytes
	Cmdline   []string `json:"cmdline,omitempty"` // without secrets, see Redact
	// NetNS is the inode of its network namespace, 0 where it can't be read. The
	// kernel uses the number again once the namespace is gone.
	NetNS     uint64               `json:"netns,omitempty"`
	Container *container.Container `json:"container,omitempty"`

	// Connections are its sockets, other than listening ones: a shipper's by the
	// remote port, a receiver's by the local one.
	Connections []sockstate.Socket `json:"connections,omitempty"`
	Listeners   []sockstate.Socket `json:"listeners,omitempty"` // all of them
	// Ports are those it ships to, or receives on, by its settings and sockets.
	Ports flow.Ports `json:"ports,omitempty"`
	// Stats are endpoints that may publish its counters, best first, as
	// beatstats.NewClient takes them: "host:port" within its network namespace,
	// or a unix socket as a path of this host.
	Stats []string `json:"stats,omitempty"`
	// Config is the file its settings were read from; Logs are the files it
	// writes its own log to. A program in another mount namespace has them below
	// /proc/PID/root: links in such a path lead to files of this host.
	Config string   `json:"config,omitempty"`
	Logs   []string `json:"logs,omitempty"`
	// Settings are what Config says, of a Filebeat; nil where it was not read.
	Settings *beatstats.Settings `json:"-"`
	// Pipelines are the files of a Logstash's configuration that have beats inputs.
	Pipelines []Pipeline `json:"-"`

	Why     []string `json:"why"`               // how each of these was found
	Missing []string `json:"missing,omitempty"` // what could not be read, and the right it needs
}

// Options say where to look, and for what.
type Options struct {
	ProcRoot string     // the proc file system, "" is /proc
	Ports    flow.Ports // watched ports, nil is 5044 and 24224
	PIDs     []int      // processes that are wanted, whatever they are
}

// DefaultPorts are those of Lumberjack (Logstash's beats input) and of Fluentd's
// forward protocol.
var DefaultPorts = flow.NewPorts(5044, 24224)

// Find finds the programs that ship or receive logs: by executable and command
// line, any other process with an established connection to a watched port, or a
// listener on one, and those of PIDs. Shippers come first, those with connections before
// others. Without root it sees the caller's own processes; of others it tells
// what can be seen, and Missing tells what can't. The error is ErrHidden when
// nothing was found, but not everything could be looked at.
func Find(ctx context.Context, o Options) ([]Program, error) {
	if o.ProcRoot == "" {
		o.ProcRoot = "/proc"
	}
	if o.Ports == nil {
		o.Ports = DefaultPorts
	}
	f := finder{Options: o, tables: map[uint64][]sockstate.Socket{}, containers: map[string]*container.Container{}}
	return f.find(ctx)
}
