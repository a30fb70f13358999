package container_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"halfopen/container"
	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
)

func find(t *testing.T, nameOrID string) container.Container {
	t.Helper()
	c, err := container.Find(t.Context(), nameOrID)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func namespace(t *testing.T, c container.Container) string {
	t.Helper()
	s, err := os.Readlink(c.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A container that publishes no port is found by every way to name it, and its
// sockets are seen through the namespace that Find names.
func TestFind(t *testing.T) {
	d := docker(t)
	id := d.run("halfopen-find", "PARTY_LISTEN=:5044")
	pid := int(d.call("GET", "/containers/"+id+"/json", nil).Get("State.Pid").Int())
	for what, name := range map[string]string{"name": "halfopen-find", "id": id, "prefix": id[:12], "short prefix": id[:5]} {
		t.Run(what, func(t *testing.T) {
			c := find(t, name)
			if c.ID != id || c.Name != "halfopen-find" || c.Engine != container.Docker || !c.Running || c.PID != pid || c.StartTime == 0 {
				t.Errorf("found %+v, want id %s, pid %d", c, id, pid)
			}
			if c.LogDriver != "json-file" {
				t.Errorf("log driver %q", c.LogDriver)
			}
			if text, err := os.ReadFile(c.LogPath); err != nil || !strings.Contains(string(text), `"log":"ready\n"`) {
				t.Errorf("log %q, %v", text, err)
			}
		})
	}
	c := find(t, id)
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil || namespace(t, c) == own {
		t.Errorf("the container's namespace is this one's: %s, %v", own, err)
	}
	ns, err := netns.Open(c.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	socks, _, err := sockstate.ReadProc(ns.ProcRoot(), flow.NewPorts(5044))
	if err != nil || len(socks) != 1 || socks[0].State != sockstate.Listen {
		t.Errorf("sockets on port 5044 inside: %v, %v", socks, err)
	}
	if got, engine, ok := container.OfPID(pid); !ok || got != id || engine != container.Docker {
		t.Errorf("OfPID(%d) = %s, %s, %v", pid, got, engine, ok)
	}
	if got, _, ok := container.OfPID(os.Getpid()); ok && got == id {
		t.Errorf("this process is in %s", got)
	}
}

func TestStoppedAndUnknown(t *testing.T) {
	d := docker(t)
	id := d.run("halfopen-stopped")
	d.do(id, "stop?t=1")
	for _, name := range []string{"halfopen-stopped", id[:12]} {
		if c := find(t, name); c.ID != id || c.Running || c.PID != 0 || c.NetNS != "" || c.StartTime != 0 {
			t.Errorf("stopped: %+v", c)
		}
	}
	_, err := container.Find(t.Context(), "halfopen-nobody")
	if !errors.Is(err, container.ErrNotFound) {
		t.Fatalf("unknown name: %v", err)
	}
	for _, part := range []string{`"halfopen-nobody"`, strings.TrimPrefix(d.host, "unix://"), "DOCKER_HOST"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
}

// Without an engine to ask, the cgroups give the id, and the container's mount
// table leads to the engine's files, wherever they are.
func TestEngineGone(t *testing.T) {
	d := docker(t)
	id := d.run("halfopen-orphaned")
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "nowhere.sock"))
	for _, name := range []string{"halfopen-orphaned", id, id[:12]} {
		c := find(t, name)
		if c.ID != id || c.Name != "halfopen-orphaned" || !c.Running || c.LogPath == "" {
			t.Errorf("%s: %+v", name, c)
		}
		namespace(t, c)
	}
	_, err := container.Find(t.Context(), "halfopen-nobody")
	if !errors.Is(err, container.ErrNotFound) || !strings.Contains(err.Error(), "nowhere.sock") {
		t.Errorf("unknown name: %v", err)
	}
	t.Setenv("DOCKER_HOST", "tcp://192.0.2.1:2375")
	if _, err := container.Find(t.Context(), "halfopen-nobody"); err == nil || !strings.Contains(err.Error(), "tcp://192.0.2.1:2375") {
		t.Errorf("an engine elsewhere: %v", err)
	}
}

// An engine that takes the question and never answers does not hold Find up for
// longer than its deadline.
func TestEngineHangs(t *testing.T) {
	d := docker(t)
	id := d.run("halfopen-hang")
	socket := filepath.Join(t.TempDir(), "mute.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // and with it what waits to be accepted
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	if c := find(t, "halfopen-hang"); c.ID != id || !c.Running {
		t.Errorf("found %+v", c)
	}
	if _, err := container.Find(t.Context(), "halfopen-nobody"); err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("unknown name: %v", err)
	}
}

// follow passes on what Follow tells.
func follow(t *testing.T, nameOrID string) (told chan container.Container, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	told, done := make(chan container.Container), make(chan error)
	go func() {
		done <- container.Follow(ctx, nameOrID, func(c container.Container) {
			select {
			case told <- c:
			case <-ctx.Done():
			}
		})
	}()
	return told, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Follow: %v", err)
		}
	}
}

// until takes what is told up to the first that is wanted.
func until(t *testing.T, told chan container.Container, what string, want func(container.Container) bool) container.Container {
	t.Helper()
	var c container.Container
	await(t, what, func() bool {
		select {
		case c = <-told:
			return want(c)
		default:
			return false
		}
	})
	return c
}

func TestFollow(t *testing.T) {
	for what, engine := range map[string]bool{"with the engine": true, "without": false} {
		t.Run(what, func(t *testing.T) {
			d := docker(t)
			name := "halfopen-follow-" + strconv.FormatBool(engine)
			id := d.run(name)
			if !engine {
				t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "nowhere.sock"))
			}
			told, end := follow(t, name)
			defer end()
			first := until(t, told, "the container", func(c container.Container) bool { return c.Running })
			before := namespace(t, first)
			old, err := netns.Open(first.NetNS) // else its inode may be used again
			if err != nil {
				t.Fatal(err)
			}
			defer old.Close()

			d.do(id, "restart?t=1")
			second := until(t, told, "the restart", func(c container.Container) bool { return c.Running && c.PID != first.PID })
			if second.ID != id || second.StartTime <= first.StartTime || namespace(t, second) == before {
				t.Errorf("restarted from %+v (%s) to %+v (%s)", first, before, second, namespace(t, second))
			}
			d.do(id, "stop?t=1")
			if c := until(t, told, "the stop", func(c container.Container) bool { return !c.Running }); c.ID != id || c.PID != 0 || c.NetNS != "" {
				t.Errorf("stopped: %+v", c)
			}
			d.do(id, "start")
			if c := until(t, told, "the return", func(c container.Container) bool { return c.Running }); c.ID != id || c.PID == second.PID {
				t.Errorf("returned: %+v", c)
			}
		})
	}
}

// Without this test a stream that can't be read would go unnoticed: Follow would
// see everything a second later.
func TestEvents(t *testing.T) {
	d := docker(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type event struct{ id, name, action string }
	events, done := make(chan event, 100), make(chan error)
	go func() {
		done <- container.Events(ctx, strings.TrimPrefix(d.host, "unix://"), func(id, name, action string) { events <- event{id, name, action} })
	}()
	if ev := <-events; ev != (event{}) {
		t.Errorf("the stream begins with %+v", ev)
	}
	id := d.run("halfopen-events")
	d.do(id, "stop?t=1")
	for _, action := range []string{"start", "die"} {
		await(t, action, func() bool {
			select {
			case ev := <-events:
				return ev == event{id, "halfopen-events", action}
			default:
				return false
			}
		})
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the stream ended with %v", err)
	}
}

// A container made anew under its name ("docker compose up --force-recreate") is
// followed when it was named, and only then.
func TestFollowMadeAnew(t *testing.T) {
	d := docker(t)
	id := d.run("halfopen-old")
	byName, endName := follow(t, "halfopen-old")
	defer endName()
	byID, endID := follow(t, id[:12])
	defer endID()
	until(t, byName, "the container by name", func(c container.Container) bool { return c.ID == id })
	until(t, byID, "the container by id", func(c container.Container) bool { return c.ID == id })
	d.call("POST", "/containers/"+id+"/rename?name=halfopen-older", nil)
	d.do(id, "stop?t=1")
	next := d.run("halfopen-old")
	until(t, byName, "the new container", func(c container.Container) bool { return c.ID == next && c.Running })
	if c := until(t, byID, "the end of the old one", func(c container.Container) bool { return !c.Running }); c.ID != id {
		t.Errorf("followed by id: %+v", c)
	}
}

func TestFollowUnknown(t *testing.T) {
	docker(t)
	err := container.Follow(t.Context(), "halfopen-nobody", func(c container.Container) { t.Errorf("told %+v", c) })
	if !errors.Is(err, container.ErrNotFound) {
		t.Errorf("Follow: %v", err)
	}
}
