package logtail_test

import (
	"context"
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

var limited = flag.Bool("logtail.limited", false, "run the tests that want namespaces of their own; set by the tests that make them")

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
	return followWith(t, func(ctx context.Context, cfg logtail.Config, h logtail.Handler) error {
		runtime.LockOSThread()
		if err := unix.Setfsuid(uid); err != nil {
			t.Error(err)
		}
		return logtail.Follow(ctx, cfg, h)
	}, cfg)
}

// Where no more files can be opened, that is noted, and the file is read when
// there is room again.
func TestFollowOpenFilesLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\n")
	write(t, path+".new", "two\n")
	f := follow(t, logtail.Config{Path: path, Poll: 5 * time.Millisecond, From: logtail.FromBeginning})
	f.want("one")
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 200, Max: limit.Max}))
	var held []int
	restore := func() {
		for _, fd := range held {
			_ = unix.Close(fd)
		}
		held = nil
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	}
	t.Cleanup(restore)
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		held = append(held, fd)
	}
	must(t, os.Rename(path, path+".1"))
	must(t, os.Rename(path+".new", path))
	f.note("cannot be read: open " + path + ": too many open files")
	restore()
	f.want("two")
	f.complete()
}

// A file system whose files others write to gives no events: the tick sees what
// came. An overlay does so where its upper directory is written to directly.
func TestFollowWithoutEvents(t *testing.T) {
	rerun(t, "TestWithoutEvents", "-logtail.limited")
}

func TestWithoutEvents(t *testing.T) {
	dir := t.TempDir()
	seen, behind := dir, dir
	if *limited {
		for _, d := range []string{"lower", "upper", "work", "merged"} {
			must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
		}
		seen, behind = filepath.Join(dir, "merged"), filepath.Join(dir, "upper")
		options := fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work,userxattr", dir, dir, dir)
		must(t, unix.Mount("overlay", seen, "overlay", 0, options))
		t.Cleanup(func() { must(t, unix.Unmount(seen, unix.MNT_DETACH)) })
	}
	name := func(dir string) string { return filepath.Join(dir, "app.log") }
	write(t, name(behind), "one\n")
	for _, run := range []follower{logtail.Follow, logtail.FollowGlob} {
		cfg := logtail.Config{Path: name(seen), Poll: 5 * time.Millisecond}
		f := followWith(t, run, cfg).ready()
		write(t, name(behind), "two\n")
		f.want("two")
		write(t, name(behind), "three\n")
		f.want("three")
		f.complete()
	}
}

// rerun runs a test of this binary again in a user and a mount namespace of its own.
func rerun(t *testing.T, test string, args ...string) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	runInside(t, test, exec.Command(self, append([]string{"-test.v", "-test.run", "^" + test + "$"}, args...)...))
}

func runInside(t *testing.T, test string, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+test) {
		t.Errorf("%v\n%s", err, out)
	}
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
			runInside(t, "TestLimited", exec.Command("sh", "-c", script))
		})
	}
}

// TestLimited is the part of TestFollowWithoutInotify that runs in its own
// user namespace; elsewhere it sees that inotify works.
func TestLimited(t *testing.T) {
	for _, run := range []follower{logtail.Follow, logtail.FollowGlob} {
		path := filepath.Join(t.TempDir(), "app.log")
		write(t, path, "one\n")
		f := followWith(t, run, logtail.Config{Path: path, Poll: time.Millisecond, From: logtail.FromBeginning})
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
}

// While the handler stands still the log rotates, and most of it is deleted.
// What is left is read, and a gap stands for the rest; nothing is held open.
func TestFollowLagging(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "0\n")
	g := gated(t, path)
	g.held()
	const n, kept = 40, 3
	for i := 1; i <= n; i++ {
		for k := kept; k > 0; k-- {
			if err := os.Rename(name(path, k-1), name(path, k)); err != nil && i > kept {
				t.Fatal(err)
			}
		}
		awaitTick() // births tell the order
		write(t, path, fmt.Sprintln(i))
	}
	close(g.release)
	for range kept + 1 {
		g.held()
	}
	g.gap()
	gaps := g.stop()
	if got, want := strings.Join(g.lines, " "), "0 37 38 39 40"; got != want {
		t.Errorf("read %q, want %q", got, want)
	}
	if len(gaps) == 0 || gaps[0].Bytes != -1 || !strings.Contains(gaps[0].Why, "file(s) came and went") {
		t.Errorf("gaps %+v", gaps)
	}
}

// name is the path of the k-th rotated file.
func name(path string, k int) string {
	if k == 0 {
		return path
	}
	return fmt.Sprintf("%s.%d", path, k)
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
	gaps := g.stop()
	// The rotation may come before the look that follows the overflow: then another
	// one before it can't be ruled out.
	if len(gaps) > 1 || len(gaps) == 1 && !strings.Contains(gaps[0].Why, "overflowed") || strings.Join(g.lines, " ") != "one two three" {
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
