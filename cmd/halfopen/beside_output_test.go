package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"halfopen/collect"
	"halfopen/flow"
	"halfopen/timeline"
)

// printing runs a shell script whose output is passed on and recorded.
func printing(t *testing.T, script string, prepare func(copyPath string)) (stdout, stderr bytes.Buffer, rec *timeline.Recording, copyPath string) {
	t.Helper()
	r, err := collect.Open(t.TempDir(), timeline.Header{Tool: "test", Experiment: "halfopen-nat", Ports: flow.NewPorts(5044)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	copyPath = r.Path("script-output.log")
	prepare(copyPath)
	plan, err := new(logFlags).plan("", nil)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", script)
	done, err := pass(cmd, r, plan, &stdout, &stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	done()
	if err := r.Close(timeline.End{Reason: timeline.EndDone}); err != nil {
		t.Fatal(err)
	}
	if rec, err = timeline.Load(r.Prefix() + timeline.Suffix); err != nil {
		t.Fatal(err)
	}
	return stdout, stderr, rec, copyPath
}

// All that a command prints before its end is in the file, in order, also more in
// one go than any queue holds, and binary; the last line needs no newline. A line
// that means something is an event that says where it is.
func TestBesideOutput(t *testing.T) {
	t.Parallel()
	const script = `seq 1 500000; printf 'Connection to backoff(async(tcp://a:5044)) established\n\377\000\r\nlast' >&2`
	stdout, stderr, rec, path := printing(t, script, func(string) {})
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := string(text)
	if strings.Count(stdout.String(), "\n") != 500_000 || !strings.HasSuffix(stderr.String(), "\n\xff\x00\r\nlast") {
		t.Errorf("passed on %d bytes, and %q", stdout.Len(), &stderr)
	}
	for _, k := range rec.Records {
		if k.Gap != nil || k.Failure != nil {
			t.Errorf("gap %+v, failure %+v", k.Gap, k.Failure)
		}
	}
	events := eventsOf(rec, "filebeat-connected")
	if len(events) != 1 || events[0].Name != timeline.Script || events[0].Past || !strings.HasPrefix(kept[events[0].Offset:], events[0].Line+"\n") {
		t.Fatalf("events %+v", events)
	}
	kept += "\n" // where the unfinished line is not the last
	for line := range strings.SplitSeq(stderr.String(), "\n") {
		if strings.Count(kept, line+"\n") != 1 {
			t.Errorf("%q is not in the file", line)
		}
		kept = strings.Replace(kept, line+"\n", "", 1)
	}
	if strings.TrimRight(kept, "\n") != strings.TrimRight(stdout.String(), "\n") {
		t.Errorf("kept %d bytes of %d", len(kept), stdout.Len())
	}
}

// A disk that hangs for as long as the command runs holds up neither that nor its
// end, and what it prints passes on.
func TestBesideOutputDiskHangs(t *testing.T) {
	t.Parallel()
	stdout, _, rec, path := printing(t, "seq 1 500000", func(path string) {
		if err := syscall.Mkfifo(path, 0o600); err != nil { // nobody reads it: to open it hangs
			t.Fatal(err)
		}
	})
	disk, err := os.OpenFile(path, os.O_RDWR, 0) // who waits for it may end
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if n := strings.Count(stdout.String(), "\n"); n != 500_000 {
		t.Errorf("%d lines passed on", n)
	}
	failed := false
	for _, k := range rec.Records {
		failed = failed || k.Failure != nil && strings.Contains(k.Failure.Error, "the disk does not take the copy")
	}
	if !failed {
		t.Error("the recording does not tell of the disk")
	}
}
