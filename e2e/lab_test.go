package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// verdict is what the test reads of halfopen verdict --json.
type verdict struct {
	Verdict  string `json:"verdict"`
	Class    string `json:"class"`
	Summary  string `json:"summary"`
	Recovery struct {
		By          string        `json:"by"`
		ClosedAfter time.Duration `json:"closed_after_last_read_ns"`
	} `json:"recovery"`
}

// Exit codes of halfopen.
const (
	done         = 0
	stalled      = 3
	inconclusive = 4
)

// One cut of the path, and what a real Filebeat makes of it under three settings
// of output.logstash.timeout.
var cases = []struct {
	timeout string
	exit    int
	check   func(t *testing.T, e evidence)
}{
	// Nobody ends the wait before the kernel does, after a quarter of an hour.
	{timeout: "24h", exit: stalled, check: func(t *testing.T, e evidence) {
		if e.verdict.Verdict != "reproduced" || e.verdict.Class != "half-open" {
			t.Errorf("verdict %+v, want reproduced, half-open", e.verdict)
		}
		if n := e.acked(t); n == 0 {
			t.Error("no body of /stats has libbeat.output.events.acked above 0")
		}
	}},
	// Filebeat's own default: it hangs up 30 s after the last byte it read.
	{timeout: "30s", exit: done, check: func(t *testing.T, e evidence) {
		if e.verdict.Verdict != "recovered" || e.verdict.Recovery.By != "application timeout" {
			t.Errorf("verdict %+v, want recovered by application timeout", e.verdict)
		}
		if d := e.verdict.Recovery.ClosedAfter; d < 28*time.Second || d > 40*time.Second {
			t.Errorf("closed %s after the last read, want about 30s", d)
		}
	}},
	// The deadline of every write has passed when it is set: nothing was ever
	// delivered, so the cut proves nothing.
	{timeout: "0s", exit: inconclusive, check: func(t *testing.T, e evidence) {
		if e.verdict.Verdict != "inconclusive" {
			t.Errorf("verdict %+v, want inconclusive", e.verdict)
		}
		if !strings.Contains(e.verdict.Summary, "output.logstash.timeout") {
			t.Errorf("the reason %q does not name output.logstash.timeout", e.verdict.Summary)
		}
	}},
}

func TestLab(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("the lab makes network namespaces: run this test as root")
	}
	binary(t, filebeat)
	binary(t, halfopen)
	before := named(t)
	t.Run("timeout", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.timeout, func(t *testing.T) {
				t.Parallel()
				e := runLab(t, c.timeout, c.exit)
				e.whole(t)
				c.check(t, e)
			})
		}
	})
	for _, name := range named(t) {
		if !slices.Contains(before, name) {
			t.Errorf("left behind: network namespace %q", name)
		}
	}
	for _, exe := range running(t) {
		t.Errorf("left behind: process %s", exe)
	}
}

// evidence is what a lab left.
type evidence struct {
	dir     string
	verdict verdict
}

// runLab runs the lab with a real Filebeat and has the recording judged again.
func runLab(t *testing.T, timeout string, exit int) evidence {
	t.Helper()
	e := evidence{dir: t.TempDir()}
	work := t.TempDir()
	command(t, exit, work, "lab", "--filebeat", binary(t, filebeat), "--shipper-timeout", timeout, "--evidence", e.dir, "--quiet")
	left, err := os.ReadDir(work)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("left behind in the folder for temporary files: %s", f.Name())
	}
	decode(t, command(t, exit, work, "verdict", "--json", e.dir), &e.verdict)
	return e
}

// command runs halfopen, wants the exit code and returns standard output.
func command(t *testing.T, exit int, tmp string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(t, halfopen), args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ended := new(exec.ExitError); err != nil && !errors.As(err, &ended) {
		t.Fatalf("run halfopen %s: %v", strings.Join(args, " "), err)
	}
	if code := cmd.ProcessState.ExitCode(); code != exit {
		t.Fatalf("halfopen %s: %s, want exit code %d\n%s\n%s", strings.Join(args, " "), cmd.ProcessState, exit, &stdout, &stderr)
	}
	return stdout.Bytes()
}

// whole checks that the evidence is complete and as it was recorded.
func (e evidence) whole(t *testing.T) {
	t.Helper()
	if yml := e.read(t, e.files(t, "*filebeat.yml")[0]); !bytes.Contains(yml, []byte("output.logstash:")) {
		t.Errorf("filebeat.yml has no output.logstash:\n%s", yml)
	}
	manifests := e.files(t, "*manifest.sha256")
	cmd := exec.Command("sha256sum", "--check", "--strict", "--quiet", filepath.Base(manifests[0]))
	cmd.Dir = e.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sha256sum --check: %v\n%s", err, out)
	}
}

// acked is the highest libbeat.output.events.acked in the raw bodies.
func (e evidence) acked(t *testing.T) (most int) {
	t.Helper()
	for _, path := range e.files(t, "*metrics-*.json") {
		var st stats
		decode(t, e.read(t, path), &st)
		most = max(most, st.Libbeat.Output.Events.Acked)
	}
	return most
}

// files is never empty.
func (e evidence) files(t *testing.T, glob string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(e.dir, glob))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatalf("no %s among the evidence", glob)
	}
	return paths
}

func (e evidence) read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// named lists the network namespaces that have a name, as ip netns does.
func named(t *testing.T) (names []string) {
	t.Helper()
	entries, err := os.ReadDir("/run/netns")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// running lists the processes whose executable was built by these tests. One
// that ends meanwhile, or a kernel thread, has none.
func running(t *testing.T) (procs []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil || len(links) == 0 {
		t.Fatalf("list processes: %v", err)
	}
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && strings.HasPrefix(exe, bin) {
			procs = append(procs, link+" -> "+exe)
		}
	}
	return procs
}
