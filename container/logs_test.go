package container_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"halfopen/container"
)

// talker is a container that puts out what it is told.
type talker struct {
	a      api
	id     string
	fifo   *os.File
	remove func()
}

// talk starts a talker with a log driver.
func (a api) talk(name, driver string, tty bool, opts map[string]string) talker {
	a.t.Helper()
	bin := filepath.Join(a.t.TempDir(), "talker")
	cmd := exec.Command("go", "build", "-o", bin, "./testdata/talker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("build the talker: %v\n%s", err, out)
	}
	path := filepath.Join(a.t.TempDir(), "talk")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		a.t.Fatal(err)
	}
	fifo, err := os.OpenFile(path, os.O_RDWR, 0) // both ends: what is said waits for who listens
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { fifo.Close() })
	body, err := json.Marshal(map[string]any{
		"Image": image, "Cmd": []string{"/talker"}, "Tty": tty,
		"HostConfig": map[string]any{
			"Binds":     []string{bin + ":/talker:ro", path + ":/talk"},
			"LogConfig": map[string]any{"Type": driver, "Config": opts},
		},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	id := a.call("POST", "/containers/create?name="+name, bytes.NewReader(body)).Get("Id").String()
	remove := sync.OnceFunc(func() { a.call("DELETE", "/containers/"+id+"?force=1", nil) })
	a.t.Cleanup(remove)
	a.do(id, "start")
	return talker{a, id, fifo, remove}
}

func (k talker) say(lines ...string) {
	k.a.t.Helper()
	for _, l := range lines {
		if _, err := io.WriteString(k.fifo, l+"\n"); err != nil {
			k.a.t.Fatal(err)
		}
	}
}

// heard is what Logs has told so far.
type heard struct {
	t     *testing.T
	ended func() // waits for it
	stop  func() // ends it
	mu    sync.Mutex
	place string
	lines []string // "2 " before those of stderr, as say takes them; "…" after a part
	gaps  []string
	notes []string
	done  chan error
}

func listen(t *testing.T, nameOrID string, from container.LogStart) *heard {
	t.Helper()
	h := &heard{t: t, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	last := map[string]time.Time{}
	go func() {
		h.done <- container.Logs(ctx, nameOrID, from, container.LogHandler{
			Line: func(o container.Output) error {
				h.mu.Lock()
				defer h.mu.Unlock()
				line := string(o.Text)
				if o.Stream == "stderr" {
					line = "2 " + line
				}
				if o.Partial {
					line += "…"
				}
				const step = 10 * time.Millisecond // by which the host's clock may be set back
				if off := time.Since(o.Time); off < -step || off > time.Hour || o.Time.Before(last[o.Stream].Add(-step)) {
					t.Errorf("line %.40q has the time %s, the one before it %s", line, o.RawTime, last[o.Stream])
				}
				last[o.Stream] = o.Time
				h.lines = append(h.lines, line)
				return nil
			},
			Gap:   func(why string) { h.mu.Lock(); h.gaps = append(h.gaps, why); h.mu.Unlock() },
			Note:  func(note string) { h.mu.Lock(); h.notes = append(h.notes, note); h.mu.Unlock() },
			Place: func(place string) { h.mu.Lock(); h.place = place; h.mu.Unlock() },
		})
	}()
	h.ended = sync.OnceFunc(func() {
		if err := <-h.done; err != nil {
			t.Errorf("Logs: %v", err)
		}
	})
	h.stop = func() { cancel(); h.ended() }
	t.Cleanup(h.stop)
	return h
}

// hears waits for as many lines as are wanted, and compares them.
func (h *heard) hears(want ...string) {
	h.t.Helper()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.t.Failed() {
			h.t.Logf("heard %d lines, of %d; the last %.60q; gaps %q, notes %q", len(h.lines), len(want), h.lines[max(0, len(h.lines)-5):], h.gaps, h.notes)
		}
	}()
	await(h.t, "the last line", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return len(h.lines) >= len(want)
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.lines, want) || len(h.gaps) > 0 {
		h.t.Errorf("heard %.60q, want %.60q", h.lines, want)
	}
}

// The output is read whole through the engine, whatever it is kept in, and goes
// on over restarts: each line once.
func TestLogs(t *testing.T) {
	long := strings.Repeat("x", 16<<10) // Docker splits here
	for _, driver := range []string{"json-file", "local"} {
		t.Run(driver, func(t *testing.T) {
			binary := "\xff\x01 four\r"
			if driver == "json-file" { // JSON has no place for bytes that are no text
				binary = "\u00ff\x01 four\r"
			}
			d := docker(t)
			k := d.talk("halfopen-talk-"+driver, driver, false, nil)
			k.say("one")
			h := listen(t, "halfopen-talk-"+driver, container.LogStart{})
			want := []string{"one"}
			h.hears(want...)
			k.say("2 two") // after it: the two streams come as they like
			want = append(want, "2 two")
			h.hears(want...)

			k.say("", long+"three", binary)
			want = append(want, "", long+"…", "three", binary)
			h.hears(want...)

			d.do(k.id, "restart?t=5")
			k.say("five")
			want = append(want, "five")
			h.hears(want...)

			d.do(k.id, "stop?t=5")
			k.say("six", "seven") // heard by the next life
			d.do(k.id, "start")
			want = append(want, "six", "seven")
			h.hears(want...)
			k.say("eight")
			want = append(want, "eight")
			h.hears(want...)

			k.remove()
			h.ended()
			h.hears(want...)
			if !strings.Contains(strings.Join(h.notes, "\n"), "removed") {
				t.Errorf("notes %q", h.notes)
			}
		})
	}
}

// A terminal's output has no frames, and one stream.
func TestLogsOfTerminal(t *testing.T) {
	d := docker(t)
	k := d.talk("halfopen-talk-tty", "json-file", true, nil)
	h := listen(t, k.id, container.LogStart{})
	k.say("one", "", "three é")
	h.hears("one", "", "three é")
	d.do(k.id, "restart?t=5")
	k.say("2 four")
	h.hears("one", "", "three é", "four")
}

func TestLogsFrom(t *testing.T) {
	d := docker(t)
	k := d.talk("halfopen-talk-from", "local", false, nil)
	all := listen(t, k.id, container.LogStart{})
	k.say("one", "two", "three")
	all.hears("one", "two", "three")
	now := listen(t, k.id, container.LogStart{Since: time.Now()})
	last := listen(t, k.id, container.LogStart{Last: 2})
	last.hears("two", "three")
	k.say("four")
	now.hears("four")
	last.hears("two", "three", "four")
	d.do(k.id, "restart?t=5")
	k.say("five")
	now.hears("four", "five")
	last.hears("two", "three", "four", "five")
}

// What is there is read to its end, and no more is waited for, however slow the engine
// is; the next run goes on behind it.
func TestLogsNow(t *testing.T) {
	d := docker(t)
	for _, tty := range []bool{false, true} {
		k := d.talk(fmt.Sprintf("halfopen-talk-now-%t", tty), "local", tty, nil)
		k.say("one", "two")
		all := listen(t, k.id, container.LogStart{})
		all.hears("one", "two") // the engine has them
		w := newWire(t, d.host)
		w.slow(400 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		var lines []string
		var place string
		now := func() {
			t.Helper()
			lines = nil
			err := container.LogsNow(ctx, k.id, container.LogStart{After: place}, container.LogHandler{
				Line:  func(o container.Output) error { lines = append(lines, string(o.Text)); return nil },
				Gap:   func(why string) { t.Error(why) },
				Note:  func(note string) { t.Error(note) },
				Place: func(p string) { place = p },
			})
			if err != nil || ctx.Err() != nil {
				t.Fatalf("%v, %v", err, ctx.Err())
			}
		}
		if now(); !slices.Equal(lines, []string{"one", "two"}) {
			t.Errorf("read %q", lines)
		}
		if now(); len(lines) != 0 {
			t.Errorf("read again %q", lines)
		}
		k.say("three")
		all.hears("one", "two", "three")
		if now(); !slices.Equal(lines, []string{"three"}) {
			t.Errorf("then %q", lines)
		}
		w.cut(true)
		if err := container.LogsNow(ctx, k.id, container.LogStart{}, container.LogHandler{Place: func(string) {}}); err == nil {
			t.Error("an engine that does not answer is no error")
		}
		t.Setenv("DOCKER_HOST", d.host)
	}
}

func TestLogsRefused(t *testing.T) {
	d := docker(t)
	k := d.talk("halfopen-talk-none", "none", false, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	line := func(container.Output) error { return errors.New("a line of a container that has none") }
	err := container.Logs(ctx, k.id, container.LogStart{}, container.LogHandler{Line: line})
	if err == nil || !strings.Contains(err.Error(), "--log-driver") {
		t.Errorf("driver none: %v", err)
	}
	if err := container.Logs(ctx, "halfopen-nobody", container.LogStart{}, container.LogHandler{Line: line}); !errors.Is(err, container.ErrNotFound) {
		t.Errorf("no container: %v", err)
	}
}

// wire stands between a client and the engine, and cuts what it carries.
type wire struct {
	listener net.Listener
	engine   string
	mu       sync.Mutex
	conns    []net.Conn
	closed   bool          // to new connections
	late     time.Duration // how long each new one takes
	open     sync.WaitGroup
}

func newWire(t *testing.T, host string) *wire {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "wire.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, engine: strings.TrimPrefix(host, "unix://")}
	w.open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.carry(c)
		}
	})
	t.Cleanup(func() { l.Close(); w.cut(true); w.open.Wait() })
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	return w
}

func (w *wire) carry(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	time.Sleep(w.late)
	e, err := net.Dial("unix", w.engine)
	if w.closed || err != nil {
		c.Close()
		return
	}
	w.conns = append(w.conns, c, e)
	w.open.Go(func() { io.Copy(e, c); e.Close() })
	w.open.Go(func() { io.Copy(c, e); c.Close() })
}

// slow makes an engine of it that takes so long for each answer.
func (w *wire) slow(late time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = late
}

// cut ends all connections; new ones are refused as long as it stays closed.
func (w *wire) cut(closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = closed
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

// A connection to the engine that breaks at any moment, in the middle of a line
// too, costs no line and doubles none.
func TestLogsOverBrokenConnections(t *testing.T) {
	d := docker(t)
	k := d.talk("halfopen-talk-broken", "local", false, nil)
	w := newWire(t, d.host)
	h := listen(t, k.id, container.LogStart{})
	var want []string
	for i := range 6000 {
		line := fmt.Sprintf("line %d %s", i, strings.Repeat("x", rand.IntN(300)))
		want = append(want, line)
		k.say(line)
		if i%600 == 599 {
			await(t, "some lines more", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.lines) > i-500 })
			w.cut(false)
		}
	}
	h.hears(want...)
}

// Where the engine has thrown away what came while it could not be asked, that
// is said.
func TestLogsLost(t *testing.T) {
	d := docker(t)
	k := d.talk("halfopen-talk-lost", "json-file", false, map[string]string{"max-size": "10k", "max-file": "1"})
	w := newWire(t, d.host)
	h := listen(t, k.id, container.LogStart{})
	k.say("one")
	h.hears("one")
	w.cut(true)
	for i := range 500 {
		k.say(fmt.Sprintf("line %d %s", i, strings.Repeat("x", 100)))
	}
	path := d.call("GET", "/containers/"+k.id+"/json", nil).Get("LogPath").String()
	await(t, "the last line in the log", func() bool {
		text, err := os.ReadFile(path)
		return err == nil && bytes.Contains(text, []byte("line 499 "))
	})
	w.cut(false)
	await(t, "the last line", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return strings.HasPrefix(h.lines[len(h.lines)-1], "line 499 ")
	})
	if len(h.gaps) != 1 || len(h.lines) > 400 || !strings.Contains(strings.Join(h.notes, "\n"), "read again") {
		t.Errorf("%d lines, gaps %q, notes %q", len(h.lines), h.gaps, h.notes)
	}
}
