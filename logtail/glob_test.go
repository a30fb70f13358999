package logtail_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/logtail"
)

func followGlob(t *testing.T, cfg logtail.Config) *following {
	t.Helper()
	return followWith(t, logtail.FollowGlob, cfg)
}

func TestGlobJoinsAndEnds(t *testing.T) {
	dir := t.TempDir()
	pods := filepath.Join(dir, "pods")
	f := followGlob(t, logtail.Config{Path: filepath.Join(pods, "*", "c-*", "?.log"), Poll: 20 * time.Millisecond})
	f.note("nothing matches yet")
	must(t, os.MkdirAll(filepath.Join(pods, "a", "c-1"), 0o755))
	first := filepath.Join(pods, "a", "c-1", "0.log")
	write(t, first, "one\n")
	if l := f.line(); string(l.Bytes) != "one" || l.File != first {
		t.Errorf("line %q of %s", l.Bytes, l.File)
	}
	must(t, os.MkdirAll(filepath.Join(pods, "b", "c-2"), 0o755))
	for _, left := range []string{"0.log.gz", "0.txt", ".log", "10.log"} {
		write(t, filepath.Join(pods, "b", "c-2", left), "left out\n")
	}
	second := filepath.Join(pods, "b", "c-2", "0.log")
	write(t, second, "two\n")
	if l := f.line(); string(l.Bytes) != "two" || l.File != second {
		t.Errorf("line %q of %s", l.Bytes, l.File)
	}
	write(t, first, "three\n")
	f.want("three")
	write(t, first, "torn")
	must(t, os.RemoveAll(filepath.Join(pods, "a")))
	f.note(first + ": ended")
	if l := f.line(); string(l.Bytes) != "torn" || !l.Partial {
		t.Errorf("line %q %+v", l.Bytes, l)
	}
	must(t, os.MkdirAll(filepath.Join(pods, "a", "c-1"), 0o755))
	write(t, first, "four\n")
	f.want("four")
	f.complete()
}

// What matches at the start begins where the configuration says; what comes
// later at its beginning.
func TestGlobStart(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		write(t, filepath.Join(dir, fmt.Sprintf("%d.log", i)), "old\nlast\n")
	}
	f := followGlob(t, logtail.Config{Path: filepath.Join(dir, "*.log"), Poll: never, From: logtail.LastLines(1)})
	f.want("last", "last", "last")
	write(t, filepath.Join(dir, "3.log"), "new\nlast\n")
	f.want("new", "last")
	f.complete()
}

// A directory that comes with a log that was rotated already is new in full.
func TestGlobJoinsRotated(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"new", "pods"} { // one scan sees all that comes later
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	f := followGlob(t, logtail.Config{Path: filepath.Join(dir, "pods", "*", "app*"), Poll: never})
	f.note("nothing matches yet")
	awaitTick()
	for _, name := range []string{"app.log.1", "app.log"} {
		write(t, filepath.Join(dir, "new", name), name+"\n")
	}
	must(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "pods", "new")))
	f.want("app.log.1", "app.log")
	f.complete()
}

// With dates in their names, rotated files come before the log in a listing.
func TestGlobHistoryOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "app-20261120.log"), "one\n")
	write(t, filepath.Join(dir, "app.log"), "two\n")
	f := followGlob(t, logtail.Config{Path: filepath.Join(dir, "app*"), Poll: never, From: logtail.LastLines(5)})
	seen := []string{string(f.line().Bytes), string(f.line().Bytes)}
	slices.Sort(seen)
	wantLines(t, seen, "one", "two")
	f.complete()
}

// A name of a file that is read under another is no second log.
func TestGlobSameFileTwice(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write(t, path, "one\n")
	must(t, os.Symlink("app.log", filepath.Join(dir, "link.log")))
	f := followGlob(t, logtail.Config{Path: filepath.Join(dir, "*.log"), Poll: 20 * time.Millisecond, From: logtail.FromBeginning})
	f.want("one")
	must(t, os.Link(path, filepath.Join(dir, "hard.log")))
	write(t, path, "two\n")
	f.want("two")
	f.complete()
}

// A file that was renamed is read on; so is one that was rotated away and let go,
// if it grows under a name that matches.
func TestGlobGrowsUnderAnotherName(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "a.log"), filepath.Join(dir, "a-1.log")
	write(t, path, "one\n")
	f := followGlob(t, logtail.Config{Path: filepath.Join(dir, "*.log"), Poll: 5 * time.Millisecond, From: logtail.FromBeginning})
	f.want("one")
	must(t, os.Rename(path, other))
	f.note("gone from its name")
	write(t, other, "two\n")
	if l := f.line(); string(l.Bytes) != "two" || l.Offset != 4 || l.File != path {
		t.Errorf("line %q at %d of %s", l.Bytes, l.Offset, l.File)
	}
	write(t, path, "new\n")
	f.want("new")
	must(t, os.Rename(path, filepath.Join(dir, "a-2.log"))) // the one before can go
	write(t, path, "newer\n")
	f.want("newer")
	until(t, "the renamed file to be let go", func() bool { return !isOpen(t, other) })
	write(t, other, "three\n")
	if l := f.line(); string(l.Bytes) != "three" || l.Offset != 8 || l.File != other {
		t.Errorf("line %q at %d of %s", l.Bytes, l.Offset, l.File)
	}
	f.complete()
}

func TestGlobLeavesOutWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "d.log"), 0o755))
	write(t, filepath.Join(dir, "a.log"), "one\n")
	f := followGlob(t, logtail.Config{Path: filepath.Join(dir, "*.log"), Poll: 5 * time.Millisecond, From: logtail.FromBeginning})
	f.want("one")
	write(t, filepath.Join(dir, "b.log"), "two\n")
	f.want("two")
	f.complete()
	left := 0
	for _, n := range f.notes {
		if strings.Contains(n, "d.log is left out: it is a directory") {
			left++
		}
	}
	if left != 1 {
		t.Errorf("noted %d times: %q", left, f.notes)
	}
}

func TestGlobRefuses(t *testing.T) {
	err := logtail.FollowGlob(t.Context(), logtail.Config{Path: "/var/log/[a"}, logtail.Handler{Line: func(logtail.Line) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), `"[a" is no pattern`) {
		t.Errorf("%v", err)
	}
	if !logtail.IsGlob("/var/log/*.log") || logtail.IsGlob("/var/log/a.log") {
		t.Error("IsGlob")
	}
}

// Many files, and one inotify instance.
func TestGlobManyFiles(t *testing.T) {
	dir := t.TempDir()
	const n = 1000
	name := func(i int) string { return filepath.Join(dir, fmt.Sprintf("d%d", i%10), fmt.Sprintf("%d.log", i)) }
	for i := range 10 {
		must(t, os.Mkdir(filepath.Join(dir, fmt.Sprintf("d%d", i)), 0o755))
	}
	for i := range n / 2 {
		write(t, name(i), "old\n")
	}
	before := inotifyInstances(t)
	f := followGlob(t, logtail.Config{Path: filepath.Join(dir, "*", "*.log"), Poll: never})
	for range n / 2 {
		f.note("followed from")
	}
	for i := n / 2; i < n; i++ {
		write(t, name(i), "new\n")
	}
	for range n / 2 {
		f.want("new")
	}
	if got := inotifyInstances(t) - before; got != 1 {
		t.Errorf("%d inotify instances", got)
	}
	for i := range n {
		write(t, name(i), fmt.Sprintf("%d\n", i))
	}
	var seen []string
	for range n {
		seen = append(seen, string(f.line().Bytes))
	}
	slices.Sort(seen)
	if seen = slices.Compact(seen); len(seen) != n {
		t.Errorf("%d lines of %d", len(seen), n)
	}
	f.complete()
}

// inotifyInstances counts those of this process.
func inotifyInstances(t *testing.T) (n int) {
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	for _, fd := range fds {
		if target, _ := os.Readlink("/proc/self/fd/" + fd.Name()); target == "anon_inode:inotify" {
			n++
		}
	}
	return n
}
