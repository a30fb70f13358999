package container_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"halfopen/sockstate"
	"halfopen/timeline"
)

// A restart gives a container another process and another network namespace. A
// recording beside it goes on there, with sockets, their owners, counters and the
// log, though no port is published.
func TestRecordOverRestart(t *testing.T) {
	d := docker(t)
	bin, input := halfopen(t), filepath.Join(t.TempDir(), "input.log")
	appendTo(t, input, "one\ntwo\nthree\n")
	shipper, receiver := d.ship(bin, input)
	first, other := find(t, shipper), find(t, receiver)

	r := record(t, bin, "--container", "halfopen-shipping", "--container", "halfopen-receiving", "--for", "5m", "--log-since", "0s")
	r.sees("a connection", func(rec recording) bool { return len(rec.held(0, first.PID)) == 1 })
	r.sees("its other end", func(rec recording) bool { return len(rec.held(1, other.PID)) == 1 })
	r.sees("the counters", func(rec recording) bool { return rec.acked(0, 3) })

	d.do(shipper, "restart")
	appendTo(t, input, "four\n")
	second := find(t, shipper)
	r.sees("the connection of the second process", func(rec recording) bool { return len(rec.held(0, second.PID)) == 1 })
	r.sees("its other end", func(rec recording) bool { return len(rec.held(1, other.PID)) == 2 })
	r.sees("its counters", func(rec recording) bool { return rec.acked(0, 4) }) // it remembers nothing, and ships all again
	r.sees("its log", func(rec recording) bool { return strings.Count(rec.log(0), " established") == 1 })
	rec := r.end()

	places := rec.Header().Places
	if places[0].NetNS == 0 || places[1].NetNS == 0 || places[0].NetNS == places[1].NetNS ||
		places[0].Role != timeline.Shipper || places[1].Role != timeline.Receiver {
		t.Errorf("places %+v", places)
	}
	want := []change{{timeline.Started, first.PID}, {timeline.Exited, first.PID}, {timeline.Started, second.PID}}
	if got := rec.changes(0); !slices.Equal(got, want) || first.PID == second.PID {
		t.Errorf("the shipper: %v, want %v", got, want)
	}
	if got := rec.changes(1); !slices.Equal(got, []change{{timeline.Started, other.PID}}) {
		t.Errorf("the receiver, process %d: %v", other.PID, got)
	}
	ends := rec.held(1, other.PID)
	for i, pid := range []int{first.PID, second.PID} {
		if local := rec.held(0, pid)[0].Local; ends[i].Remote != local {
			t.Errorf("connection %d is from %s, the receiver has it from %s", i, local, ends[i].Remote)
		}
	}
	// Nothing between the lives is missing from the log.
	text := rec.log(0)
	for _, line := range []string{"Stopping filebeat", "filebeat stopped.", "Setup Beat", "start running", " established"} {
		if strings.Count(text, line) != 1 {
			t.Errorf("the log has %q %d times, want once:\n%s", line, strings.Count(text, line), text)
		}
	}
	for _, what := range []string{"sockets-before-*-" + places[0].Name + ".log", "metrics-before-*-" + places[0].Name + "-stats.json"} {
		if files, _ := filepath.Glob(strings.TrimSuffix(rec.Path, "timeline.jsonl") + what); len(files) < 2 {
			t.Errorf("raw evidence of the shipper, of the beginning and of the end: %q", files)
		}
	}
}

// A container that does not run when the recording begins is waited for.
func TestRecordOfStopped(t *testing.T) {
	d := docker(t)
	bin, input := halfopen(t), filepath.Join(t.TempDir(), "input.log")
	appendTo(t, input, "one\ntwo\nthree\n")
	shipper, _ := d.ship(bin, input)
	d.do(shipper, "stop")

	r := record(t, bin, "--container", "halfopen-shipping", "--container", "halfopen-receiving", "--for", "5m", "--log-since", "0s", "--stats", "127.0.0.1:5066")
	r.sees("that it does not run", func(rec recording) bool {
		return slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
			return k.Failure != nil && k.Failure.Source == "process of "+rec.Header().Places[0].Name
		})
	})
	d.do(shipper, "start")
	pid := find(t, shipper).PID
	r.sees("the connection", func(rec recording) bool { return len(rec.held(0, pid)) == 1 })
	r.sees("the counters", func(rec recording) bool { return rec.acked(0, 3) })
	r.sees("its log", func(rec recording) bool { return strings.Count(rec.log(0), " established") == 1 })
	rec := r.end()
	if got := rec.changes(0); !slices.Equal(got, []change{{timeline.Started, pid}}) {
		t.Errorf("the shipper, process %d: %v", pid, got)
	}
	if text := rec.log(0); strings.Count(text, "Setup Beat") != 1 || strings.Count(text, " established") != 1 {
		t.Errorf("the log is not that of the second life alone:\n%s", text)
	}
}

// ship starts a shipper and a receiver, and waits until they are connected.
func (a api) ship(bin, input string) (shipper, receiver string) {
	a.t.Helper()
	receiver = a.mount("halfopen-receiving", nil, []string{bin + ":/bin/halfopen:ro"}, "/bin/halfopen", "lab-receiver")
	shipper = a.mount("halfopen-shipping", []string{"HALFOPEN_INPUT=/input.log", "HALFOPEN_RECEIVER=" + a.address(receiver) + ":5044"},
		[]string{bin + ":/bin/filebeat:ro", input + ":/input.log:ro"}, "/bin/filebeat", "lab-shipper")
	log := a.call("GET", "/containers/"+shipper+"/json", nil).Get("LogPath").String()
	await(a.t, "a connection", func() bool {
		text, err := os.ReadFile(log)
		return err == nil && bytes.Contains(text, []byte(" established"))
	})
	return shipper, receiver
}

// halfopen builds the command; containers run it as well.
func halfopen(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "halfopen")
	cmd := exec.Command("go", "build", "-o", bin, "../cmd/halfopen")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build halfopen: %v\n%s", err, out)
	}
	return bin
}

// mount starts a container that runs a program of this host's.
func (a api) mount(name string, env, binds []string, args ...string) (id string) {
	a.t.Helper()
	return a.begin(name, env, map[string]any{"Binds": binds}, args...)
}

func (a api) begin(name string, env []string, host map[string]any, args ...string) (id string) {
	a.t.Helper()
	body, err := json.Marshal(map[string]any{"Image": image, "Env": env, "Cmd": args, "HostConfig": host})
	if err != nil {
		a.t.Fatal(err)
	}
	id = a.call("POST", "/containers/create?name="+name, bytes.NewReader(body)).Get("Id").String()
	a.t.Cleanup(func() { a.call("DELETE", "/containers/"+id+"?force=1", nil) })
	a.do(id, "start")
	return id
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// recorder is a running "halfopen record".
type recorder struct {
	t        *testing.T
	bin, dir string
	cmd      *exec.Cmd
	stderr   *bytes.Buffer
}

func record(t *testing.T, bin string, args ...string) recorder {
	t.Helper()
	return recordBy(t, (*exec.Cmd).Start, bin, args...)
}

func recordBy(t *testing.T, start func(*exec.Cmd) error, bin string, args ...string) recorder {
	t.Helper()
	r := recorder{t: t, bin: bin, dir: filepath.Join(t.TempDir(), "evidence"), stderr: &bytes.Buffer{}}
	r.cmd = exec.Command(bin, append([]string{"record", "--evidence", r.dir}, args...)...)
	r.cmd.Stderr = r.stderr
	if err := start(r.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			r.cmd.Process.Kill()
			r.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("halfopen record:\n%s", r.stderr)
		}
	})
	return r
}

// sees waits until the recording, as far as it is written, satisfies.
func (r recorder) sees(what string, is func(recording) bool) {
	r.t.Helper()
	await(r.t, what+" to be recorded", func() bool {
		rec, err := r.load()
		return err == nil && is(rec) // err: not begun
	})
}

func (r recorder) load() (recording, error) {
	path, err := timeline.Find(r.dir)
	if err != nil {
		return recording{}, err
	}
	rec, err := timeline.Load(path)
	if err == nil && len(rec.Header().Places) < 2 { // the host's may follow
		err = fmt.Errorf("%d places, want 2 or more", len(rec.Header().Places))
	}
	return recording{rec}, err
}

// end stops the recording as Ctrl-C does, and has it verified.
func (r recorder) end() recording {
	r.t.Helper()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		r.t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		r.t.Errorf("halfopen record: %v", err)
	}
	if out, err := exec.Command(r.bin, "verify", r.dir).CombinedOutput(); err != nil {
		r.t.Errorf("halfopen verify: %v\n%s", err, out)
	}
	rec, err := r.load()
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

// recording is asked by the number of a place.
type recording struct{ *timeline.Recording }

// held gives the connections of a process, each as it was seen first.
func (rec recording) held(place, pid int) (socks []sockstate.Socket) {
	at := rec.Header().Places[place].Name
	owned := map[uint32]bool{}
	for _, k := range rec.Records {
		if o := k.Owner; o != nil && o.At == at && o.Process != nil && o.Process.PID == pid {
			owned[o.Inode] = true
		}
	}
	for _, k := range rec.Records {
		if k.Sockets == nil || k.Sockets.At != at {
			continue
		}
		for _, s := range k.Sockets.Sockets {
			if s.State == sockstate.Established && owned[s.Inode] {
				socks, owned[s.Inode] = append(socks, s), false
			}
		}
	}
	return socks
}

// acked reports whether the counters have shown so many events.
func (rec recording) acked(place int, events int64) bool {
	at := rec.Header().Places[place].Name
	return slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
		return k.Stats != nil && k.Stats.At == at && k.Stats.Sample.Acked != nil && k.Stats.Sample.Acked.N == events
	})
}

// change is one in the life of a program.
type change struct {
	what string
	pid  int
}

func (rec recording) changes(place int) (out []change) {
	for _, k := range rec.Records {
		if p := k.Party; p != nil && p.At == rec.Header().Places[place].Name {
			out = append(out, change{p.Change, p.PID})
		}
	}
	return out
}

// log is the copy of a program's log among the evidence.
func (rec recording) log(place int) string {
	text, _ := os.ReadFile(strings.TrimSuffix(rec.Path, timeline.Suffix) + "-" + rec.Header().Places[place].Name + "-container.log")
	return string(text)
}
