package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"halfopen/timeline"
)

// A process that its supervisor starts anew is followed, and its end and its new
// beginning are recorded; others with the same command, one that ran all the time and
// one in another network namespace, are not taken for it.
func TestRecordBareRestart(t *testing.T) {
	t.Parallel()
	start := func(before ...string) *exec.Cmd {
		args := append(before, "sleep", fmt.Sprintf("%d.5", 70_000+syscall.Getpid()%10_000))
		cmd := exec.Command(args[0], args[1:]...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	start() // the twin
	first := start()
	dir := filepath.Join(t.TempDir(), "evidence")
	rec := exec.Command(binary, "record", "--quiet", "--evidence", dir, "--pid", strconv.Itoa(first.Process.Pid))
	if err := rec.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rec.Process.Kill(); rec.Wait() })
	tells := func(change string, pid int) bool {
		all, err := readSoFar(dir)
		return err == nil && slices.ContainsFunc(all.Records, func(k timeline.Record) bool {
			return k.Party != nil && k.Party.Change == change && k.Party.PID == pid
		})
	}
	told := func(change string, pid int) {
		t.Helper()
		until(60*time.Second, func() bool { return tells(change, pid) })
		if !tells(change, pid) {
			t.Fatalf("process %d was never told to have %s", pid, change)
		}
	}
	told(timeline.Started, first.Process.Pid)
	first.Process.Kill()
	first.Wait()
	told(timeline.Exited, first.Process.Pid)
	elsewhere := start("unshare", "--net")
	second := start()
	told(timeline.Started, second.Process.Pid)
	if tells(timeline.Started, elsewhere.Process.Pid) {
		t.Error("a process in another network namespace was taken for it")
	}
	if err := rec.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rec.Wait()
	if code := rec.ProcessState.ExitCode(); code != exitInconclusive {
		t.Errorf("exit code %d, want %d: nothing was ever delivered", code, exitInconclusive)
	}
}
