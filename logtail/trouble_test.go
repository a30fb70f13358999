package logtail_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"halfopen/logtail"
)

var limited = flag.Bool("logtail.limited", false, "run the test that wants a user namespace without inotify; set by the test that makes one")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A file that may not be read is noted once, tried again, and read when it may be.
func TestFollowUnreadable(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	path := filepath.Join(dir, "app.log")
	write(t, path, "one\n")
	must(t, os.Chmod(path, 0o600))
	f := followAs(t, 65534, logtail.Config{Path: path, Poll: time.Millisecond, From: logtail.FromBeginning})
	f.note("permission denied")
	write(t, path, "two\n")
	must(t, os.Chmod(path, 0o644))
	f.want("one", "two")
	f.complete()
	if n := strings.Count(strings.Join(f.notes, "\n"), "permission denied"); n != 1 {
		t.Errorf("noted %d times: %q", n, f.notes)
	}
}

// followAs follows with the rights of another user: those of the thread that
// Follow runs on, which ends with it.
func followAs(t *testing.T, uid int, cfg logtail.Config) *following {
	t.Helper()
	return followWith(t, cfg, func() {
		runtime.LockOSThread()
		if err := unix.Setfsuid(uid); err != nil {
			t.Error(err)
		}
	})
}

// Where inotify has reached its limit, the log is polled, and that is said. The
// limits belong to the user namespace, so a process in one of its own reaches
// them without touching the host's.
func TestFollowWithoutInotify(t *testing.T) {
	for _, limit := range []string{"max_inotify_instances", "max_inotify_watches"} {
		t.Run(limit, func(t *testing.T) {
			self, err := os.Executable()
			must(t, err)
			script := fmt.Sprintf("echo 0 > /proc/sys/user/%s && exec %q -test.v -test.run '^TestLimited$' -logtail.limited", limit, self)
			cmd := exec.Command("sh", "-c", script)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: TestLimited") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestLimited is the part of TestFollowWithoutInotify that runs in its own
// user namespace; elsewhere it sees that inotify works.
func TestLimited(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\n")
	f := follow(t, logtail.Config{Path: path, Poll: time.Millisecond, From: logtail.FromBeginning})
	f.want("one")
	must(t, os.Rename(path, path+".1"))
	f.note("gone from its name")
	write(t, path, "two\n")
	f.want("two")
	f.complete()
	polled := 0
	for _, note := range f.notes {
		if strings.Contains(note, "polled, no file events") && strings.Contains(note, "is reached") {
			polled++
		}
	}
	if want := map[bool]int{true: 1}[*limited]; polled != want {
		t.Errorf("%d notes of polling, want %d: %q", polled, want, f.notes)
	}
}

// More events than the kernel's queue holds (fs.inotify.max_queued_events).
func TestFollowQueueOverflow(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write(t, path, "one\n")
	g := gated(t, path)
	g.held()
	var limit int
	text, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	must(t, err)
	if _, err := fmt.Sscan(string(text), &limit); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other")
	for range limit { // two events and more each; what one read takes adds to the queue
		must(t, os.Mkdir(other, 0o755))
		must(t, os.Remove(other))
	}
	write(t, path, "two\n")
	close(g.release)
	g.held()
	g.note("overflowed")
	must(t, os.Rename(path, path+".1"))
	write(t, path, "three\n")
	g.held()
	if gaps := g.stop(); len(gaps) > 0 || strings.Join(g.lines, " ") != "one two three" {
		t.Errorf("lines %q, gaps %v", g.lines, gaps)
	}
}

// A directory behind a symbolic link has no events of its own: the tick sees it.
func TestFollowTick(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"x", "y"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
		write(t, filepath.Join(dir, d, "app.log"), "")
	}
	link := filepath.Join(dir, "deep", "link")
	must(t, os.Mkdir(filepath.Dir(link), 0o755))
	must(t, os.Symlink(filepath.Join(dir, "x"), link))
	f := follow(t, logtail.Config{Path: filepath.Join(link, "app.log"), Poll: 5 * time.Millisecond}).ready()
	write(t, filepath.Join(dir, "x", "app.log"), "one\n")
	f.want("one")
	must(t, os.Symlink(filepath.Join(dir, "y"), link+".tmp"))
	must(t, os.Rename(link+".tmp", link))
	write(t, filepath.Join(dir, "y", "app.log"), "two\n")
	f.want("two")
	write(t, filepath.Join(dir, "y", "app.log"), "three\n")
	f.want("three")
	f.complete()
}
