// Package container finds the process of a container, and with it the network
// namespace its sockets are in, and tells when a restart changes both.
//
// /proc and the files that engines keep are looked at first, so that it works
// when the engine hangs; then the engine is asked, by its unix socket. What a
// file or an engine says of a process is believed only when the kernel's cgroup
// of that process agrees.
package container

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Container is one container at one moment.
type Container struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Engine string `json:"engine,omitempty"` // Docker, Containerd, CRIO, Podman; "" if not known

	Running bool `json:"running"`
	// PID is the container's first process, as this host numbers it; 0 when it
	// does not run. With StartTime it names the process for good.
	PID int `json:"pid,omitempty"`
	// StartTime is when PID began, in clock ticks of USER_HZ since boot
	// (proc_pid_stat(5), starttime).
	StartTime uint64 `json:"start_time_ticks,omitempty"`
	// NetNS is the path of the network namespace for netns.Open,
	// /proc/PID/ns/net; "" when it does not run. It is another after a restart.
	NetNS string `json:"netns,omitempty"`

	// LogPath is the file its output goes to, "" where not known or where there
	// is none; LogDriver is the format, in the engine's words ("json-file",
	// "journald", "k8s-file"), "cri" for files below /var/log/containers.
	LogPath   string `json:"log_path,omitempty"`
	LogDriver string `json:"log_driver,omitempty"`
}

// ErrNotFound is wrapped when no container has the name or id, as far as could
// be seen.
var ErrNotFound = errors.New("no such container")

// findTimeout bounds Find: reading /proc takes milliseconds, each engine has
// askTimeout.
const findTimeout = 15 * time.Second

// Host is where containers are looked for; the zero Host is this one. A program
// that runs in a container itself names where the host's /proc and / are mounted.
type Host struct {
	Proc string // the proc file system, "" is /proc
	Root string // what the engines' files and sockets stand below, "" is /
}

func (h Host) proc() string { return cmp.Or(h.Proc, "/proc") }

// Find finds a container by name, full id or unique prefix of an id. A stopped
// one is found too, where an engine's file or socket tells of it. The error
// wraps ErrNotFound where nothing is known by that name, and says what was
// tried; more than one container of that name or prefix is an error as well.
func Find(ctx context.Context, nameOrID string) (Container, error) {
	return Host{}.Find(ctx, nameOrID)
}

// Find is the package's Find on another host.
func (h Host) Find(ctx context.Context, nameOrID string) (Container, error) {
	if err := checkName(nameOrID); err != nil {
		return Container{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	seen, err := h.survey(ctx)
	if err != nil {
		return Container{}, fmt.Errorf("find container %q: %w", nameOrID, err)
	}
	c, match, pickErr := seen.pick(nameOrID)
	if match == exact && (pickErr != nil || c.Name != "" && c.LogDriver != "") {
		return c, pickErr
	}
	question := nameOrID
	if match == exact {
		question = c.ID
	}
	told, askErr := h.ask(ctx, question, seen)
	switch {
	case errors.Is(askErr, errElsewhere) && match == none:
		return Container{}, fmt.Errorf("find container %q: %w", nameOrID, askErr)
	case askErr == nil && match == exact:
		c.fill(told)
		return c, nil
	case askErr == nil:
		return told, nil
	case pickErr != nil:
		return Container{}, pickErr
	case match != none:
		return c, nil // what /proc tells is enough
	}
	return Container{}, notFound(nameOrID, seen, askErr)
}

// fill takes what is not known yet from what an engine told.
func (c *Container) fill(told Container) {
	if c.Name == "" {
		c.Name = told.Name
	}
	if c.Engine == "" {
		c.Engine = told.Engine
	}
	if c.LogPath == "" {
		c.LogPath = told.LogPath
	}
	if c.LogDriver == "" {
		c.LogDriver = told.LogDriver
	}
}

// maxName is more than any engine allows.
const maxName = 255

// checkName refuses what no engine accepts as a name: the name becomes part of
// a path in the request to the engine.
func checkName(s string) error {
	const form = `want letters, digits, "_", "." and "-", the first a letter or digit`
	if s == "" || len(s) > maxName {
		return fmt.Errorf("container name of %d bytes: want 1 to %d", len(s), maxName)
	}
	for i, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("_.-", r)) {
			return fmt.Errorf("container name %q: %s", s, form)
		}
	}
	return nil
}

func notFound(nameOrID string, seen survey, askErr error) error {
	tried := fmt.Sprintf("%d running containers by the cgroups in /proc, %d by the engines' files", seen.residents, seen.files)
	if len(seen.denied) > 0 {
		tried += fmt.Sprintf(" (no right to read %s: root may)", strings.Join(seen.denied, ", "))
	}
	const hint = `see "docker ps" for names, set DOCKER_HOST=unix:///path for another engine, or give the process by its pid`
	return fmt.Errorf("find container %q: %w among %s; engines: %w; %s", nameOrID, ErrNotFound, tried, askErr, hint)
}
