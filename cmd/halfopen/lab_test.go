package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"halfopen/timeline"
	"halfopen/verdict"
)

// labRun is a lab in a folder of its own.
type labRun struct {
	t        *testing.T
	evidence string
	tmp      string
	cmd      *exec.Cmd
	stdout   bytes.Buffer
	progress io.Reader
}

func startLab(t *testing.T, args ...string) *labRun {
	t.Helper()
	dir := t.TempDir()
	r := &labRun{t: t, evidence: filepath.Join(dir, "evidence"), tmp: filepath.Join(dir, "tmp")}
	if err := os.Mkdir(r.tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command(binary, append([]string{"lab", "--json", "--evidence", r.evidence}, args...)...)
	r.cmd.Env = append(os.Environ(), "TMPDIR="+r.tmp, "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	r.cmd.Stdout = &r.stdout
	var err error
	if r.progress, err = r.cmd.StderrPipe(); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// await reads the progress until a line contains text.
func (r *labRun) await(text string) {
	r.t.Helper()
	var said strings.Builder
	lines := bufio.NewScanner(r.progress)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), text) {
			return
		}
	}
	r.t.Fatalf("the lab never said %q:\n%s", text, said.String())
}

// wait drains the progress and returns the exit code.
func (r *labRun) wait() int {
	r.t.Helper()
	said, _ := io.ReadAll(r.progress)
	err := r.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	if r.t.Failed() {
		r.t.Logf("progress:\n%s", said)
	}
	return r.cmd.ProcessState.ExitCode()
}

// halfopen runs another command on the recording.
func (r *labRun) halfopen(args ...string) (out string, code int) {
	r.t.Helper()
	cmd := exec.Command(binary, append(args, r.evidence)...)
	b, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// checkEvidence: the files are there and unchanged, and judging them again gives
// the same bytes.
func (r *labRun) checkEvidence() {
	t := r.t
	t.Helper()
	for _, glob := range []string{
		"*-timeline.jsonl", "*filebeat-*.log", "*logstash-*.log", "*-metrics-before-*.json", "*-sockets-before-*.log",
		"*-filebeat.yml", "*-verdict.json", "*-verdict.txt", "*-manifest.sha256",
	} {
		if found, _ := filepath.Glob(filepath.Join(r.evidence, glob)); len(found) == 0 {
			t.Errorf("no evidence file is called %s", glob)
		}
	}
	if out, code := r.halfopen("verify"); code != 0 {
		t.Errorf("verify: exit code %d\n%s", code, out)
	}
	for args, glob := range map[string]string{"verdict": "*-verdict.txt", "verdict --json": "*-verdict.json"} {
		kept, err := filepath.Glob(filepath.Join(r.evidence, glob))
		if err != nil || len(kept) != 1 {
			t.Fatalf("%s: %v, %v", glob, kept, err)
		}
		want, err := os.ReadFile(kept[0])
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := r.halfopen(strings.Fields(args)...); again != string(want) {
			t.Errorf("halfopen %s is not what the run wrote:\n%s", args, again)
		}
	}
	if path, err := exec.LookPath("sha256sum"); err == nil {
		manifest, _ := filepath.Glob(filepath.Join(r.evidence, "*-manifest.sha256"))
		cmd := exec.Command(path, "--check", "--quiet", filepath.Base(manifest[0]))
		cmd.Dir = r.evidence
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("sha256sum --check: %v\n%s", err, out)
		}
	}
}

// checkNothingLeft: no process of the lab lives, and its work folder is gone.
func (r *labRun) checkNothingLeft(swept bool) {
	r.t.Helper()
	mine := func() (left []string) {
		procs, err := procfs.AllProcs()
		if err != nil {
			r.t.Fatal(err)
		}
		for _, p := range procs {
			env, _ := p.Environ()
			for _, v := range env {
				if v == "TMPDIR="+r.tmp {
					left = append(left, v)
				}
			}
		}
		return left
	}
	until(60*time.Second, func() bool { return len(mine()) == 0 })
	if left := mine(); len(left) > 0 {
		r.t.Errorf("%d processes are left", len(left))
	}
	if files, _ := os.ReadDir(r.tmp); swept && len(files) > 0 {
		r.t.Errorf("left in TMPDIR: %v", files)
	}
}

// until asks for the condition every 20 ms, for so long at most.
func until(limit time.Duration, condition func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for !condition() {
		select {
		case <-tick.C:
		case <-end:
			return
		}
	}
}

// readSoFar reads the newest recording in a folder, as far as it has come.
func readSoFar(evidence string) (*timeline.Recording, error) {
	path, err := timeline.Find(evidence)
	if err != nil {
		return nil, err
	}
	return timeline.Load(path)
}

func loaded(t testing.TB, evidence string) *timeline.Recording {
	t.Helper()
	rec, err := readSoFar(evidence)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func (r *labRun) verdict() verdict.Verdict {
	r.t.Helper()
	var v verdict.Verdict
	if err := json.Unmarshal(r.stdout.Bytes(), &v); err != nil {
		r.t.Fatalf("read verdict: %v\n%s", err, r.stdout.String())
	}
	return v
}

// Each run on a real kernel must get its verdict.
func TestLabVerdicts(t *testing.T) {
	tests := []struct {
		name    string
		args    []string
		code    int
		verdict string
		check   func(t *testing.T, v verdict.Verdict)
	}{
		{name: "default", code: exitStalled, verdict: verdict.Reproduced, check: func(t *testing.T, v verdict.Verdict) {
			if v.Class != verdict.HalfOpen {
				t.Errorf("class %q", v.Class)
			}
			var kernel bool
			for _, e := range v.Ends {
				kernel = kernel || e.By == verdict.ByKernel && e.Earliest != nil && e.Latest != nil && e.Latest.After(*e.Earliest)
			}
			if !kernel {
				t.Errorf("no forecast of the kernel's give-up: %+v", v.Ends)
			}
			if v.Window == nil || v.Window.Packets == nil || *v.Window.Packets == 0 {
				t.Errorf("window %+v", v.Window)
			}
			if v.Receiver == nil || *v.Receiver == v.Connection.Reverse() {
				t.Errorf("the receiver's 4-tuple is %v, that of the shipper %v: no NAT seen", v.Receiver, v.Connection)
			}
		}},
		{name: "8.15 stats", args: []string{"--stats-shape", "8.15"}, code: exitStalled, verdict: verdict.Reproduced},
		{name: "timeout 10s", args: []string{"--shipper-timeout", "10s"}, code: exitOK, verdict: verdict.Recovered, check: func(t *testing.T, v verdict.Verdict) {
			if v.Recovery == nil || v.Recovery.By != verdict.ByTimeout || v.Recovery.ClosedAfter == nil || *v.Recovery.ClosedAfter < 7*time.Second || *v.Recovery.ClosedAfter > 20*time.Second {
				t.Errorf("recovery %+v", v.Recovery)
			}
		}},
		{name: "timeout 0s", args: []string{"--shipper-timeout", "0s"}, code: exitInconclusive, verdict: verdict.Inconclusive, check: func(t *testing.T, v verdict.Verdict) {
			if !strings.Contains(v.Summary, "never delivered") || !strings.Contains(v.Summary, "output.logstash.timeout") {
				t.Errorf("summary %q", v.Summary)
			}
		}},
		{name: "no cut", args: []string{"--method", "none", "--watch-for", "10s"}, code: exitOK, verdict: verdict.NotStalled, check: func(t *testing.T, v verdict.Verdict) {
			if v.Window != nil || !strings.Contains(v.Summary, "no cut") {
				t.Errorf("window %+v, summary %q", v.Window, v.Summary)
			}
		}},
		{name: "receiver stops before the cut", args: []string{
			"--receiver-cmd", "halfopen lab-receiver & sleep 4; kill $!; wait", "--warm-up", "10s", "--drop-for", "3s", "--watch-for", "35s",
		}, code: exitInconclusive, verdict: verdict.Inconclusive},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := startLab(t, tt.args...)
			if code := r.wait(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			v := r.verdict()
			if v.Verdict != tt.verdict {
				t.Errorf("verdict %q, want %q: %s", v.Verdict, tt.verdict, v.Summary)
			}
			if tt.check != nil {
				tt.check(t, v)
			}
			r.checkEvidence()
			r.checkNothingLeft(true)
			if t.Failed() {
				text, _ := r.halfopen("verdict")
				t.Log(text)
			}
		})
	}
}

// A lab killed in the middle of the cut leaves a recording that can be read, and
// nothing else; the next lab removes the work folder.
func TestLabKilled(t *testing.T) {
	t.Parallel()
	r := startLab(t, "--warm-up", "3s")
	r.await("the path is cut")
	until(60*time.Second, func() bool { // what is shown may be written a moment later
		rec, err := readSoFar(r.evidence)
		return err == nil && slices.ContainsFunc(rec.Records, func(k timeline.Record) bool { return k.Fault != nil })
	})
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if code := r.wait(); code != -1 {
		t.Fatalf("exit code %d of a killed lab", code)
	}
	r.checkNothingLeft(false)
	text, code := r.halfopen("verdict")
	if code != exitInconclusive || !strings.Contains(text, "the recording ends while the path was cut") {
		t.Errorf("verdict: exit code %d\n%s", code, text)
	}
	if out, code := r.halfopen("verify"); code != exitError || !strings.Contains(out, "cut short") {
		t.Errorf("verify: exit code %d\n%s", code, out)
	}
	path, err := timeline.Find(r.evidence)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := timeline.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(rec.Records); n < 50 {
		t.Errorf("only %d records were kept", n)
	}
	next := exec.Command(binary, "lab", "--method", "none", "--warm-up", "1s", "--watch-for", "1s", "--evidence", r.evidence)
	next.Env = r.cmd.Env
	if out, err := next.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("swept")) {
		t.Errorf("the next lab: %v\n%s", err, out)
	}
	r.checkNothingLeft(true)
}

// Ctrl-C ends the run in order: the evidence is complete and nothing is left.
func TestLabInterrupted(t *testing.T) {
	t.Parallel()
	r := startLab(t, "--warm-up", "3s")
	r.await("the path is cut")
	if err := r.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := r.wait(); code != exitInconclusive {
		t.Errorf("exit code %d", code)
	}
	r.checkEvidence()
	r.checkNothingLeft(true)
}
