package container_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"halfopen/container"
	"halfopen/timeline"
)

// A container whose engine keeps no file that could be read (log driver local) is
// recorded through the engine's API, over its restart, beside files by a pattern
// that rotate meanwhile, in its own network namespace.
func TestRecordLogsOfEngine(t *testing.T) {
	d := docker(t)
	bin := halfopen(t)
	k := d.talk("halfopen-filebeat", "local", false, nil)
	established := func(n string) string { return "Connection to backoff(async(tcp://logstash:" + n + ")) established" }
	k.say(established("1"))
	all := listen(t, k.id, container.LogStart{})
	all.hears(established("1"))
	logs := t.TempDir()
	app := filepath.Join(logs, "app.log")

	r := record(t, bin, "--container", "halfopen-filebeat", "--netns", find(t, k.id).NetNS, "--log", "unknown="+filepath.Join(logs, "*.log"))
	events := func(rec recording) (out []*timeline.Event) {
		for _, k := range rec.Records {
			if k.Event != nil && k.Event.Pattern == "filebeat-connected" {
				out = append(out, k.Event)
			}
		}
		return out
	}
	r.sees("the line from before", func(rec recording) bool { return len(events(rec)) == 1 })
	k.say("2 "+established("2"), "\x01 binary")
	appendTo(t, app, established("3")+"\n")
	r.sees("the lines", func(rec recording) bool { return len(events(rec)) == 3 })
	d.do(k.id, "restart?t=5")
	if err := os.Rename(app, app+".1"); err != nil {
		t.Fatal(err)
	}
	k.say(established("4"))
	appendTo(t, app, established("5")+"\n")
	r.sees("the lines after the restart", func(rec recording) bool { return len(events(rec)) == 5 })
	rec := r.stop()

	for _, e := range events(rec) {
		ours := rec.Header().Places[0].Name == e.Name
		if ours != (e.LoggedBy == "engine") || ours != strings.HasPrefix(e.Source, "container:"+k.id) || e.File == "" {
			t.Errorf("event %+v", e)
		}
		if strings.Contains(e.Line, ":1)") != e.Past || strings.Contains(e.Line, ":2)") != (e.Stream == "stderr") {
			t.Errorf("event %+v", e)
		}
	}
	var texts []string
	for _, line := range strings.Split(strings.TrimSuffix(rec.log(0), "\n"), "\n") {
		part := strings.SplitN(line, " ", 4)
		if len(part) < 4 || part[2] != "F" {
			t.Fatalf("line %q is not time, stream, F and text", line)
		}
		texts = append(texts, part[1]+" "+part[3])
	}
	slices.Sort(texts)
	want := []string{"stderr " + established("2"), "stdout \x01 binary", "stdout " + established("1"), "stdout " + established("4")}
	if !slices.Equal(texts, want) {
		t.Errorf("the copy of the container's output has %q, want %q", texts, want)
	}
	if got := rec.log(1); got != established("3")+"\n"+established("5")+"\n" {
		t.Errorf("the copy of the files is %q", got)
	}
}

// A later recording takes of what an engine keeps only what is new, after kill -9
// of the one before too.
func TestRecordResumeLogsOfEngine(t *testing.T) {
	d := docker(t)
	bin := halfopen(t)
	k := d.talk("halfopen-resume", "local", false, nil)
	all := listen(t, k.id, container.LogStart{})
	k.say("one", "2 two")
	await(t, "the lines", func() bool { all.mu.Lock(); defer all.mu.Unlock(); return len(all.lines) == 2 })
	evidence := t.TempDir()
	args := []string{"--container", "halfopen-resume", "--netns", find(t, k.id).NetNS, "--resume", "--log-lines", "all", "--evidence", evidence}
	texts := func(rec recording) (out []string) {
		for line := range strings.Lines(rec.log(0)) {
			_, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " F ")
			out = append(out, text)
		}
		slices.Sort(out) // two streams
		return out
	}
	cursors := func() string {
		text, err := os.ReadFile(filepath.Join(evidence, "log-positions.json"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return gjson.GetBytes(text, "logs.@values.#.cursor").Raw
	}
	run := func(kill bool, want ...string) {
		t.Helper()
		was := cursors()
		r := record(t, bin, args...)
		r.dir = evidence
		began := time.Now()
		r.sees("the lines", func(rec recording) bool {
			return rec.Records[0].Time.After(began) && slices.Equal(texts(rec), want)
		})
		if kill {
			await(t, "the position", func() bool { return cursors() != was })
			if err := r.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			r.cmd.Wait()
			return
		}
		if got := texts(r.stop()); !slices.Equal(got, want) {
			t.Errorf("recorded %q, want %q", got, want)
		}
	}
	run(false, "one", "two")
	k.say("three")
	run(true, "three")
	k.say("four")
	d.do(k.id, "restart?t=5")
	args[3] = find(t, k.id).NetNS
	run(false, "four")
	k.say("five")
	run(false, "five")
}

// A snapshot takes what an engine keeps since the one before, though each answer of
// the engine's takes its time; where none comes within --timeout it says so.
func TestSnapshotLogsOfEngine(t *testing.T) {
	d := docker(t)
	bin := halfopen(t)
	k := d.talk("halfopen-snap", "local", false, nil)
	all := listen(t, k.id, container.LogStart{})
	k.say("one")
	all.hears("one")
	w := newWire(t, d.host)
	w.slow(400 * time.Millisecond)
	evidence := t.TempDir()
	copies := func() (out map[string]string) {
		out = map[string]string{}
		paths, err := filepath.Glob(filepath.Join(evidence, "*-container.log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, out[path], _ = strings.Cut(strings.TrimSuffix(string(text), "\n"), " F ")
		}
		return out
	}
	take := func() string {
		t.Helper()
		if out, err := exec.Command(bin, "snapshot", "--quiet", "--timeout", "1m", "--evidence", evidence, "--container", k.id).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v: %s", err, out)
		}
		paths := timeline.Parts(filepath.Join(evidence, "halfopen-nat"+timeline.Suffix))
		return strings.TrimSuffix(paths[len(paths)-1], timeline.Suffix)
	}
	take()
	k.say("two")
	all.hears("one", "two")
	prefix := take()
	if got := copies()[prefix+"-halfopen-snap-container.log"]; got != "two" {
		t.Errorf("the second snapshot has %q of %q", got, copies())
	}
	before := len(copies())
	if take(); len(copies()) != before {
		t.Errorf("the third one has copies too: %q", copies())
	}
}

// A container that --log names is read on when it is made anew under its name,
// whatever its log driver is then.
func TestRecordLogOfContainerMadeAnew(t *testing.T) {
	d := docker(t)
	bin := halfopen(t)
	k := d.talk("halfopen-anew", "json-file", false, nil)
	k.say("one")
	path := d.call("GET", "/containers/"+k.id+"/json", nil).Get("LogPath").String()
	await(t, "the line", func() bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), `"one\n"`)
	})
	r := record(t, bin, "--pid", strconv.Itoa(os.Getpid()), "--netns", find(t, k.id).NetNS, "--log", "container:halfopen-anew")
	copied := func(line string) func(recording) bool {
		return func(rec recording) bool { return strings.Contains(rec.log(0), line) }
	}
	r.sees("the first line", copied(`{"log":"one\n","stream":"stdout",`))
	k.remove()
	d.talk("halfopen-anew", "local", false, nil).say("two")
	r.sees("the line of the new one", copied(" stdout F two\n"))
	rec := r.stop()
	if text := rec.log(0); strings.Count(text, "\n") != 2 {
		t.Errorf("copied %q", text)
	}
}

// stop ends a recording of what is no shipper: there is nothing to conclude.
func (r recorder) stop() recording {
	r.t.Helper()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		r.t.Fatal(err)
	}
	const inconclusive = 4
	if err := r.cmd.Wait(); r.cmd.ProcessState.ExitCode() != inconclusive {
		r.t.Errorf("halfopen record: %v", err)
	}
	rec, err := r.load()
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}
