// Package receiver is the test bed's receiving party: in shape a Logstash with a Beats input and a stdout
// output. It speaks Lumberjack v2, prints one line an event and acknowledges a batch once it is printed.
package receiver

import (
	"fmt"
	"net"
	"time"
)

// Config says where the receiver listens and how patient it is.
type Config struct {
	// Listen is the address of the Beats input; without a host it takes IPv4 and IPv6 on one socket, as Java does.
	Listen string
	// Stats is the address of the HTTP API.
	Stats string
	// ClientTimeout is how long a connection may carry nothing either way before it is closed
	// (client_inactivity_timeout of the Beats input); 0 is for ever.
	ClientTimeout time.Duration
	// Shape is the Logstash release to look like: "7.17" or "8.15".
	Shape string
	// Ready, if set, is told the addresses listened on, once both are open.
	Ready func(listen, stats net.Addr)
}

var versions = map[string]string{"7.17": "7.17.29", "8.15": "8.15.3"}

// FromEnv reads the configuration from HALFOPEN_LISTEN (":5044"), HALFOPEN_STATS ("127.0.0.1:9600"),
// HALFOPEN_CLIENT_TIMEOUT ("60s") and HALFOPEN_STATS_SHAPE ("7.17"); defaults in brackets.
// HALFOPEN_ROLE, where it is set, must be "receiver".
func FromEnv(getenv func(string) string) (Config, error) {
	env := func(name, otherwise string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	if role := env("HALFOPEN_ROLE", "receiver"); role != "receiver" {
		return Config{}, fmt.Errorf("HALFOPEN_ROLE %q is not this program's: want \"receiver\"", role)
	}
	cfg := Config{
		Listen: env("HALFOPEN_LISTEN", ":5044"),
		Stats:  env("HALFOPEN_STATS", "127.0.0.1:9600"),
		Shape:  env("HALFOPEN_STATS_SHAPE", "7.17"),
	}
	for name, addr := range map[string]string{"HALFOPEN_LISTEN": cfg.Listen, "HALFOPEN_STATS": cfg.Stats} {
		if _, err := net.ResolveTCPAddr("tcp", addr); err != nil {
			return Config{}, fmt.Errorf("%s %q is no listening address, such as \":5044\": %w", name, addr, err)
		}
	}
	timeout := env("HALFOPEN_CLIENT_TIMEOUT", "60s")
	var err error
	if cfg.ClientTimeout, err = time.ParseDuration(timeout); err != nil || cfg.ClientTimeout < 0 {
		return Config{}, fmt.Errorf("HALFOPEN_CLIENT_TIMEOUT %q is no duration, such as \"60s\"", timeout)
	}
	if versions[cfg.Shape] == "" {
		return Config{}, fmt.Errorf("HALFOPEN_STATS_SHAPE %q: want \"7.17\" or \"8.15\"", cfg.Shape)
	}
	return cfg, nil
}
