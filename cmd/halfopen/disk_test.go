package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"halfopen/timeline"
)

// The disk fills up in mid-run and has room again later: it is said at once, the
// run goes on and is judged, no record is missing, and the end says that evidence
// files are.
func TestLabDiskFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("halfopen-test", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount a small disk (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 4<<20-200<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "lab", "--method", "none", "--warm-up", "2s", "--watch-for", "20s", "--evidence", dir)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	full := false
	for lines := bufio.NewScanner(progress); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if !full && strings.Contains(lines.Text(), "recorder: write recording: ") && strings.Contains(lines.Text(), "no space left on device") {
			full = true
			if out, err := exec.Command(binary, "verdict", dir).Output(); !bytes.Contains(out, []byte("recording halfopen-nat-")) {
				t.Errorf("verdict while the disk is full: %v\n%s", err, out)
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	text := said.String()
	// Where an evidence file fell into the time without room, the recording lacks it.
	incomplete := strings.Contains(text, "halfopen: the recording is incomplete: ")
	if code := cmd.ProcessState.ExitCode(); !full || incomplete != (code == exitError) || !incomplete && code != 0 {
		t.Errorf("exit code %d, full: %t\n%s", code, full, text)
	}
	if !strings.HasPrefix(stdout.String(), "NOT STALLED") {
		t.Errorf("verdict:\n%s", stdout.String())
	}
	path, err := timeline.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := timeline.Verify(path)
	lost := slices.ContainsFunc(c.Gaps, func(g timeline.Gap) bool { return g.Source == timeline.Recorder })
	if err != nil || lost || len(c.Damage)+len(c.Holes) != 0 || !c.Ended || c.FilesGood == nil {
		t.Errorf("check %+v, %v", c, err)
	}
}

// A disk that is full to the end costs the file its end, not the user the verdict:
// that is made from memory too, and the exit code says that the files lack
// something.
func TestRecordDiskStaysFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("halfopen-test", dir, "tmpfs", 0, "size=16k"); err != nil {
		t.Fatalf("mount a small disk (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	cmd := exec.Command(binary, "record", "--quiet", "--evidence", dir, "--netns", "/proc/self/ns/net", "--before", "0s", "--after", "0s", "--",
		"sh", "-c", `for i in 1 2 3 4 5 6; do halfopen mark "$(head -c 4000 /dev/zero | tr '\0' x)"; done; echo done`)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	if code := cmd.ProcessState.ExitCode(); code != exitError || !strings.Contains(stderr.String(), "the recording is incomplete: ") || !strings.Contains(stderr.String(), "no space left on device") {
		t.Errorf("exit code %d\n%s", code, stderr.String())
	}
	if out := stdout.String(); !strings.HasPrefix(out, "done\n") || !strings.Contains(out, "INCONCLUSIVE") || strings.Contains(out, "no end") {
		t.Errorf("%s", out)
	}
	out, _ := exec.Command(binary, "verdict", dir).CombinedOutput()
	if !bytes.Contains(out, []byte("no end")) {
		t.Errorf("the file has an end:\n%s", out)
	}
}
