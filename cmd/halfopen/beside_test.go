package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"halfopen/timeline"
)

// besideRun is a recorder that runs a shell script.
type besideRun struct {
	*exec.Cmd
	t    *testing.T
	dir  string
	out  *bufio.Reader
	errs bytes.Buffer
}

func runBeside(t *testing.T, script string) *besideRun {
	t.Helper()
	r := &besideRun{t: t, dir: filepath.Join(t.TempDir(), "evidence")}
	r.Cmd = exec.Command(binary, "record", "--quiet", "--evidence", r.dir, "--netns", "/proc/self/ns/net", "--before", "0s", "--after", "0s", "--", "sh", "-c", script)
	r.Stderr = &r.errs
	out, err := r.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Process.Kill() })
	r.out = bufio.NewReader(out)
	return r
}

// line waits for the script's next line.
func (r *besideRun) line() string {
	r.t.Helper()
	s, err := r.out.ReadString('\n')
	if err != nil {
		r.t.Fatalf("%v\n%s", err, r.errs.String())
	}
	return strings.TrimSpace(s)
}

func (r *besideRun) end() (code int, out string) {
	r.t.Helper()
	rest, err := io.ReadAll(r.out)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = r.Wait()
	return r.ProcessState.ExitCode(), string(rest)
}

func (r *besideRun) number() int {
	r.t.Helper()
	n, err := strconv.Atoi(r.line())
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func runs(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// Ctrl-C is the script's first: it puts things right, and its exit code is passed
// on. The recording is judged and sealed.
func TestBesideInterrupted(t *testing.T) {
	t.Parallel()
	r := runBeside(t, `trap 'echo put right; exit 5' INT; echo ready; while :; do sleep 0.05; done`)
	r.line()
	if err := r.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	code, out := r.end()
	if code != 5 || !strings.Contains(out, "put right\n") || !strings.Contains(out, "recording halfopen-nat-") {
		t.Errorf("exit code %d\n%s\n%s", code, out, r.errs.String())
	}
	if out, err := exec.Command(binary, "verify", r.dir).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

// A script that does not want to end is killed by the second Ctrl-C.
func TestBesideStubborn(t *testing.T) {
	t.Parallel()
	r := runBeside(t, `trap 'echo no' INT; echo ready; while :; do sleep 0.05; done`)
	r.line()
	if err := r.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if got := r.line(); got != "no" {
		t.Errorf("the script said %q", got)
	}
	if err := r.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code, out := r.end(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d\n%s\n%s", code, out, r.errs.String())
	}
}

// What the script leaves running in the background ends with the recording, but
// not what has left its process group.
func TestBesideLeavesNothing(t *testing.T) {
	t.Parallel()
	r := runBeside(t, `sleep 300 & echo $!; echo $(setsid sh -c 'sleep 301 >&- 2>&- & echo $!')`)
	child, daemon := r.number(), r.number()
	defer syscall.Kill(daemon, syscall.SIGKILL)
	if code, out := r.end(); code != exitInconclusive {
		t.Errorf("exit code %d\n%s", code, out)
	}
	until(60*time.Second, func() bool { return !runs(child) }) // killed is not yet gone
	if runs(child) || !runs(daemon) {
		t.Errorf("the child in the background runs: %t; the daemon: %t", runs(child), runs(daemon))
	}
}

// After kill -9 of the recorder its script and what that has started are gone, and
// the recording is there.
func TestBesideKilled(t *testing.T) {
	t.Parallel()
	r := runBeside(t, `echo $$; sleep 300 & echo $!; halfopen mark "the last word"; echo marked; sleep 301`)
	script, child := r.number(), r.number()
	r.line()
	recorded := func(what string) bool {
		files, _ := filepath.Glob(filepath.Join(r.dir, "*"+timeline.Suffix))
		if len(files) != 1 {
			return false
		}
		text, err := os.ReadFile(files[0])
		return err == nil && bytes.Contains(text, []byte(what))
	}
	both := func() bool { return recorded(`"text":"the last word"`) && recorded("experiment started: ") } // the latter when its guard runs
	if until(60*time.Second, both); !both() {
		t.Fatal("the marks are not in the file")
	}
	if err := r.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	r.end()
	until(60*time.Second, func() bool { return !runs(script) && !runs(child) })
	if runs(script) || runs(child) {
		t.Errorf("the script runs: %t; its child: %t", runs(script), runs(child))
	}
	out, _ := exec.Command(binary, "verify", r.dir).CombinedOutput()
	if !bytes.Contains(out, []byte("cut short")) || bytes.Contains(out, []byte("missing:")) {
		t.Errorf("verify:\n%s", out)
	}
	// Its socket is still there; who meets it removes it.
	if out, err := exec.Command(binary, "mark", "--evidence", r.dir, "too late").CombinedOutput(); err == nil || !bytes.Contains(out, []byte("no running recorder")) {
		t.Errorf("mark: %v\n%s", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join(r.dir, "*.sock")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
