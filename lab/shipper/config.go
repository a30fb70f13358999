// Package shipper is the test bed's shipping party: in shape a Filebeat with one log input, a memory queue and
// the asynchronous Logstash output. It follows a file, ships each line at least once over Lumberjack v2 and
// shows its counters and its log as Filebeat 7.17 or 8.15 would, so that whatever reads those reads these.
package shipper

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Config says what to ship, where to, and with how much patience.
type Config struct {
	// Dir is a folder for the registry: the identity of this shipper and how far its input is acknowledged.
	// Without one, every start ships the input from its beginning.
	Dir string
	// Input is the path of the log file to follow; it need not exist yet.
	Input string
	// Receiver is where to ship to, an IP address and port.
	Receiver string
	// Stats is the address of the HTTP endpoint.
	Stats string
	// Timeout bounds dialling, each write and each wait for an ACK (output.logstash.timeout). As in Filebeat,
	// 0 does not switch it off: every write then fails at once.
	Timeout time.Duration
	// Pipelining is the number of batches in flight, 1 to 64 (output.logstash.pipelining). Filebeat's 0 selects
	// another client, which is not imitated.
	Pipelining int
	// Queue is the capacity of the memory queue in events, at least 32 (queue.mem.events).
	Queue int
	// Shape is the Filebeat release to look like: "7.17" or "8.15".
	Shape string
	// NoKeepalive switches TCP keepalive off, which Filebeat can't: it has Go's default, 15 s idle, 9 probes 15 s
	// apart.
	NoKeepalive bool
	// Ready, if set, is told the address of the HTTP endpoint, once it is open.
	Ready func(stats net.Addr)
}

var versions = map[string]string{"7.17": "7.17.29", "8.15": "8.15.3"}

// FromEnv reads the configuration from HALFOPEN_DIR (none), HALFOPEN_INPUT (required), HALFOPEN_RECEIVER
// ("10.51.0.2:5044"), HALFOPEN_STATS ("127.0.0.1:5066"), HALFOPEN_TIMEOUT ("24h"), HALFOPEN_PIPELINING ("2"),
// HALFOPEN_QUEUE ("4096"), HALFOPEN_STATS_SHAPE ("7.17") and HALFOPEN_KEEPALIVE ("on"); defaults in brackets.
// HALFOPEN_ROLE, where it is set, must be "shipper".
func FromEnv(getenv func(string) string) (Config, error) {
	env := func(name, otherwise string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	if role := env("HALFOPEN_ROLE", "shipper"); role != "shipper" {
		return Config{}, fmt.Errorf("HALFOPEN_ROLE %q is not this program's: want \"shipper\"", role)
	}
	cfg := Config{
		Dir:      getenv("HALFOPEN_DIR"),
		Input:    getenv("HALFOPEN_INPUT"),
		Receiver: env("HALFOPEN_RECEIVER", "10.51.0.2:5044"),
		Stats:    env("HALFOPEN_STATS", "127.0.0.1:5066"),
		Shape:    env("HALFOPEN_STATS_SHAPE", "7.17"),
	}
	if cfg.Input == "" {
		return Config{}, fmt.Errorf("HALFOPEN_INPUT is not set: give the path of the log file to ship")
	}
	if _, err := netip.ParseAddrPort(cfg.Receiver); err != nil {
		return Config{}, fmt.Errorf("HALFOPEN_RECEIVER %q is no IP address and port, such as \"10.51.0.2:5044\"", cfg.Receiver)
	}
	if _, err := net.ResolveTCPAddr("tcp", cfg.Stats); err != nil {
		return Config{}, fmt.Errorf("HALFOPEN_STATS %q is no listening address, such as \"127.0.0.1:5066\": %w", cfg.Stats, err)
	}
	timeout := env("HALFOPEN_TIMEOUT", "24h")
	var err error
	if cfg.Timeout, err = time.ParseDuration(timeout); err != nil || cfg.Timeout < 0 {
		return Config{}, fmt.Errorf("HALFOPEN_TIMEOUT %q is no duration, such as \"30s\"", timeout)
	}
	if cfg.Pipelining, err = number("HALFOPEN_PIPELINING", env("HALFOPEN_PIPELINING", "2"), 1, 64); err != nil {
		return Config{}, err
	}
	if cfg.Queue, err = number("HALFOPEN_QUEUE", env("HALFOPEN_QUEUE", "4096"), 32, 1<<20); err != nil {
		return Config{}, err
	}
	if versions[cfg.Shape] == "" {
		return Config{}, fmt.Errorf("HALFOPEN_STATS_SHAPE %q: want \"7.17\" or \"8.15\"", cfg.Shape)
	}
	switch keepalive := env("HALFOPEN_KEEPALIVE", "on"); keepalive {
	case "on":
	case "off":
		cfg.NoKeepalive = true
	default:
		return Config{}, fmt.Errorf("HALFOPEN_KEEPALIVE %q: want \"on\" or \"off\"", keepalive)
	}
	return cfg, nil
}

func number(name, value string, least, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s %q is no number from %d to %d", name, value, least, most)
	}
	return n, nil
}
