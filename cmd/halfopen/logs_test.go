package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/timeline"
)

// logRun is a "halfopen record" that is watched for what it says of logs.
type logRun struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	stderr bytes.Buffer
}

func recordLogs(t *testing.T, args ...string) *logRun {
	t.Helper()
	r := &logRun{t: t, dir: t.TempDir()}
	if i := slices.Index(args, "--evidence"); i >= 0 {
		r.dir = args[i+1]
	} else {
		args = append(args, "--evidence", r.dir)
	}
	r.cmd = exec.Command(binary, append([]string{"record", "--quiet"}, args...)...)
	r.cmd.Stderr = &r.stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.cmd.ProcessState == nil {
			r.cmd.Process.Kill()
			r.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("halfopen record:\n%s", &r.stderr)
		}
	})
	return r
}

func (r *logRun) load() *timeline.Recording {
	path, err := timeline.Find(r.dir)
	if err != nil {
		return &timeline.Recording{} // not begun
	}
	rec, err := timeline.Load(path)
	if err != nil {
		return &timeline.Recording{}
	}
	return rec
}

func (r *logRun) sees(what string, is func(*timeline.Recording) bool) {
	r.t.Helper()
	seen := false
	until(60*time.Second, func() bool { seen = is(r.load()); return seen })
	if !seen {
		r.t.Fatalf("waited in vain for %s", what)
	}
}

// end stops the recording as Ctrl-C does, and has it verified.
func (r *logRun) end() *timeline.Recording {
	r.t.Helper()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		r.t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := r.cmd.Wait(); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != exitInconclusive) {
		r.t.Fatalf("halfopen record: %v", err)
	}
	if out, err := exec.Command(binary, "verify", r.dir).CombinedOutput(); err != nil {
		r.t.Errorf("halfopen verify: %v\n%s", err, out)
	}
	return r.load()
}

func eventsOf(rec *timeline.Recording, pattern string) (out []*timeline.Event) {
	for _, k := range rec.Records {
		if k.Event != nil && k.Event.Pattern == pattern {
			out = append(out, k.Event)
		}
	}
	return out
}

// copied is a copy among the evidence, by the end of its name.
func (r *logRun) copied(name string) string {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "*-"+name))
	if err != nil || len(files) == 0 {
		return ""
	}
	slices.Sort(files)
	text, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, path, text string) {
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

func connected(n int) string {
	return fmt.Sprintf("Connection to backoff(async(tcp://logstash:%d)) established\n", n)
}

// The logs of a place by a pattern, over rotations, and the kernel's: what is in
// them, from before the recording too, and where; then a second recording that
// goes on.
func TestRecordLogs(t *testing.T) {
	t.Parallel()
	ns, path := crowded(t)
	silence(t, ns)
	const port = 24331 // of this test alone: the kernel's log is everybody's
	if err := ns.Do(func() error { return listen(t, port, 2) }); err != nil {
		t.Fatal(err)
	}
	logs := t.TempDir()
	app, other := filepath.Join(logs, "app.log"), filepath.Join(logs, "other.log")
	now := time.Now().UTC()
	stamped := func(at time.Time, n int) string {
		return at.Format("2006-01-02T15:04:05.000Z") + "\tINFO\t" + connected(n)
	}
	write(t, app, stamped(now.Add(-time.Hour), 1)+stamped(now.Add(-time.Minute), 2))

	evidence := filepath.Join(t.TempDir(), "evidence")
	args := []string{"--netns", path, "--port", fmt.Sprint(port), "--log", filepath.Join(logs, "*.log"), "--log", "kmsg:", "--resume", "--evidence", evidence}
	r := recordLogs(t, args...)
	r.sees("the line of a minute ago", func(rec *timeline.Recording) bool { return len(eventsOf(rec, "filebeat-connected")) == 1 })
	write(t, app, connected(3))
	write(t, other, connected(4))
	r.sees("the new lines", func(rec *timeline.Recording) bool { return len(eventsOf(rec, "filebeat-connected")) == 3 })
	if err := os.Rename(app, app+".1"); err != nil { // matches no more
		t.Fatal(err)
	}
	write(t, app+".1", connected(5))
	write(t, app, connected(6))
	syns(t, ns, port, 0, 20)
	r.sees("the lines after the rotation", func(rec *timeline.Recording) bool { return len(eventsOf(rec, "filebeat-connected")) == 5 })
	r.sees("the kernel's word", func(rec *timeline.Recording) bool {
		return slices.ContainsFunc(eventsOf(rec, "kernel-syn-flood"), func(e *timeline.Event) bool { return strings.Contains(e.Line, fmt.Sprint(port)) })
	})
	rec := r.end()

	name := rec.Header().Places[0].Name
	text := r.copied(name + "-container.log")
	for n, times := range []int{0, 0, 1, 1, 1, 1, 1} { // the first is older than --log-since
		if got := strings.Count(text, connected(n)); got != times {
			t.Errorf("line %d is %d times in the copy, want %d", n, got, times)
		}
	}
	for i, e := range eventsOf(rec, "filebeat-connected") {
		if e.Past != (i == 0) || e.Name != name || !strings.HasPrefix(e.Source, logs) || !strings.HasPrefix(text[e.Offset:], e.Line+"\n") {
			t.Errorf("event %+v", e)
		}
	}
	var indexed int64
	for _, k := range rec.Records {
		if l := k.Logs; l != nil && l.Name == name {
			source := l.Source
			if l.Source == app && l.SourceOffset+l.Bytes > int64(len(connected(6))) {
				source = app + ".1"
			}
			was, err := os.ReadFile(source)
			if err != nil || l.SourceOffset+l.Bytes > int64(len(was)) ||
				string(was[l.SourceOffset:l.SourceOffset+l.Bytes]) != text[l.Offset:l.Offset+l.Bytes] {
				t.Errorf("index %+v: not as in the log (%v)", l, err)
			}
			indexed += l.Bytes
		}
	}
	if indexed != int64(len(text)) {
		t.Errorf("%d bytes are indexed of %d", indexed, len(text))
	}
	kernel := r.copied("kernel-kmsg.log")
	for _, e := range eventsOf(rec, "kernel-syn-flood") {
		if !strings.HasPrefix(kernel[e.Offset:], e.Line+"\n") || e.Name != kernelName || e.Logged == nil {
			t.Errorf("event %+v", e)
		}
	}

	write(t, app, connected(7))
	again := recordLogs(t, args...)
	again.sees("the line from between", func(rec *timeline.Recording) bool {
		return rec.Records != nil && rec.Header().StartedMono == 0 && strings.Contains(again.copied(name+"-container.log"), connected(7))
	})
	again.end()
	if got := again.copied(name + "-container.log"); got != connected(7) {
		t.Errorf("the second recording has %q", got)
	}
}

// A log is read whole, however old, where that is asked for, and as it is said to
// be written.
func TestRecordLogsWhole(t *testing.T) {
	t.Parallel()
	app := filepath.Join(t.TempDir(), "0.log")
	var all string
	for n := range 300 { // of which each is an event
		all += time.Now().Add(-time.Hour).UTC().Format(time.RFC3339Nano) + " stderr F " + connected(n)
	}
	write(t, app, all)
	r := recordLogs(t, "--netns", "/proc/self/ns/net", "--log", "cri:"+app, "--log-lines", "all")
	r.sees("the whole log", func(rec *timeline.Recording) bool {
		return rec.Records != nil && r.copied(rec.Header().Places[0].Name+"-container.log") == all
	})
	events := eventsOf(r.end(), "filebeat-connected")
	if len(events) != 300 || !events[0].Past || events[0].LoggedBy != "engine" || events[0].Message != strings.TrimSpace(connected(0)) {
		t.Errorf("%d events %+v", len(events), events)
	}
}

// What is named and can't be read is refused before anything is recorded.
func TestRecordLogsRefused(t *testing.T) {
	t.Parallel()
	for log, want := range map[string]string{
		"container:no-such-container-here": "no such container",
		"journal:":                         "want such as filebeat.service",
		"nobody=/var/log/x":                `no place "nobody"`,
		t.TempDir():                        "is a directory",
	} {
		cmd := exec.Command(binary, "record", "--pid", fmt.Sprint(os.Getpid()), "--log", log, "--for", "1s", "--evidence", filepath.Join(t.TempDir(), "e"))
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("--log %s: %v\n%s\nwant %q", log, err, out, want)
		}
	}
}

// A unit that the journal does not know is no empty log without a word.
func TestWarnLogOfNoUnit(t *testing.T) {
	var out strings.Builder
	warnLog("journal:halfopen-never-was.service", &out)
	if !strings.Contains(out.String(), "log journal:halfopen-never-was.service: the journal has no entry of a unit of that name") {
		t.Errorf("%q", out.String())
	}
}

// inJournal runs in a mount namespace of its own: a journald that nobody else
// talks to, a unit's cgroup, and in it a program whose output goes to the journal;
// beside it a recording of that program. $1 is halfopen, $2 the evidence.
const inJournal = `
mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/log/journal || exit 90
"$JOURNALD" & journald=$!
for i in $(seq 600); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.1; done
unit=$CGROUPS/system.slice/halfopen-test-$$.service
mkdir -p "$unit" || exit 91
sh -c 'echo $$ > '"$unit"'/cgroup.procs; exec systemd-cat -t filebeat sh -c "
	export JOURNAL_STREAM=\$(stat -L -c %d:%i /proc/\$\$/fd/1)
	exec sh -c \"n=0; while :; do n=\\\$((n+1)); echo \\\"Connection to backoff(async(tcp://logstash:\\\$n)) established\\\"; sleep 0.2; done\""' & program=$!
for i in $(seq 600); do journalctl -q -n 1 -u "halfopen-test-$$.service" 2>/dev/null | grep -q established && break; sleep 0.1; done
"$1" record --quiet --pid $program --evidence "$2" --for 15s; code=$?
kill $program $journald; wait
for i in $(seq 600); do rmdir "$unit" 2>/dev/null && break; sleep 0.1; done
rmdir "$CGROUPS/system.slice" 2>/dev/null # where it was not there before
[ ! -e "$unit" ] || exit 92
exit $code
`

// A program whose output goes to systemd's journal is recorded from there, by
// itself. The test starts a journald of its own.
func TestRecordJournal(t *testing.T) {
	t.Parallel()
	journald := "/lib/systemd/systemd-journald"
	for _, program := range []string{journald, "journalctl", "systemd-cat"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("find %s: %v; \"make packages\" installs what is missing", program, err)
		}
	}
	dir := t.TempDir()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", inJournal, "sh", binary, dir)
	cmd.Env = append(os.Environ(), "JOURNALD="+journald, "CGROUPS="+unitCgroups(t))
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != exitInconclusive {
		t.Fatalf("exit code %d, %v\n%s", code, err, out)
	}
	r := &logRun{t: t, dir: dir}
	rec := r.load()
	events := eventsOf(rec, "filebeat-connected")
	if len(events) < 5 {
		t.Fatalf("%d events\n%s", len(events), out)
	}
	copied := r.copied("container.log")
	for i, e := range events {
		if !strings.HasPrefix(e.Source, "journal:halfopen-test-") || e.LoggedBy != "engine" || e.Logged == nil ||
			!strings.HasPrefix(e.Message, "Connection to backoff(") || !strings.HasPrefix(copied[e.Offset:], e.Line) {
			t.Errorf("event %d: %+v", i, e)
		}
		if i > 0 && e.Message == events[i-1].Message {
			t.Errorf("%q twice", e.Message)
		}
	}
	if last := events[len(events)-1]; !events[0].Past || last.Past {
		t.Errorf("past: the first %v, the last %v", events[0].Past, last.Past)
	}
}

// unitCgroups is where journald looks for a unit's name: the unified hierarchy,
// or what stands in for it.
func unitCgroups(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return dir
		}
	}
	t.Fatal("no cgroups are mounted")
	return ""
}
