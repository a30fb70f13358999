package logtail_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/logtail"
)

// Each kind of rotation by its name, seen by file events alone (Poll never comes).

func TestRotateAppearsLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "app.log")
	f := follow(t, logtail.Config{Path: path, Poll: never})
	f.note("does not exist yet")
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	write(t, path, "one\n")
	f.want("one")
	write(t, path, "two\n")
	f.want("two")
	f.complete()
}

func TestRotateRenameCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "")
	f := follow(t, logtail.Config{Path: path, Poll: never}).ready()
	old, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer func() { _ = old.Close() }()
	say := func(text string) { _, err := old.WriteString(text); must(t, err) }

	say("one\nhal")
	f.want("one")
	must(t, os.Rename(path, path+".1"))
	f.note("gone from its name")
	say("f\ntwo\n")
	f.want("half", "two")
	write(t, path, "new\n")
	first := f.line()
	say("late\n") // its writer has not reopened yet
	f.want("late")
	write(t, path, "newer\n")
	if l := f.line(); l.Inode != first.Inode || l.Offset != 4 {
		t.Errorf("second line of the new file: %+v, first %+v", l, first)
	}
	f.complete()
}

func TestRotateUnfinishedLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "")
	f := follow(t, logtail.Config{Path: path, Poll: 20 * time.Millisecond}).ready()
	write(t, path, "unfinished")
	must(t, os.Rename(path, path+".1"))
	write(t, path+".new", "next\n")
	must(t, os.Rename(path+".new", path)) // at once with its line, or the other may come first
	f.want("next")
	if l := f.line(); string(l.Bytes) != "unfinished" || !l.Partial || l.Size != 10 || l.Offset != 0 {
		t.Errorf("unfinished line: %q %+v", l.Bytes, l)
	}
	f.complete()
}

func TestRotateDeleteCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "")
	f := follow(t, logtail.Config{Path: path, Poll: never}).ready()
	seen := map[uint64]bool{}
	for _, text := range []string{"one", "two", "three"} {
		write(t, path, text+"\n")
		l := f.line()
		if string(l.Bytes) != text || l.Offset != 0 || seen[l.Inode] {
			t.Fatalf("line %q %+v: want %q of a new file", l.Bytes, l, text)
		}
		seen[l.Inode] = true
		must(t, os.Remove(path))
	}
	f.complete()
}

// An inode number is used again as soon as its file is let go.
func TestRotateInodeReuse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "")
	f := follow(t, logtail.Config{Path: path, Poll: time.Millisecond}).ready()
	numbers := map[uint64]int{}
	reused := false
	for i := 0; i < 200 && !reused; i++ {
		write(t, path, "a line\n")
		l := f.line()
		if l.Offset != 0 {
			t.Fatalf("line %d at offset %d of inode %d", i, l.Offset, l.Inode)
		}
		numbers[l.Inode]++
		reused = numbers[l.Inode] > 1
		must(t, os.Remove(path))
	}
	if !reused {
		t.Fatalf("no inode number came again: %v", numbers)
	}
	f.complete()
}

func TestRotateMissedGeneration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\n")
	f := gated(t, path)
	f.held() // "one" is being handled: nothing else is seen meanwhile
	for _, text := range []string{"two\n", "three\n"} {
		must(t, os.Rename(path, path+".1"))
		write(t, path, text)
		if text == "two\n" {
			must(t, os.Rename(path+".1", path+".2"))
		}
	}
	close(f.release)
	for range 2 {
		f.held()
	}
	if gaps := f.stop(); len(gaps) != 0 {
		t.Errorf("gaps: %v", gaps)
	}
	if got := strings.Join(f.lines, " "); got != "one two three" {
		t.Errorf("read %q", got)
	}
}

func TestRotateMissedGenerationDeleted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\n")
	f := gated(t, path)
	f.held()
	for _, text := range []string{"lost\n", "two\n"} {
		must(t, os.Remove(path))
		write(t, path, text)
	}
	close(f.release)
	f.held()
	write(t, path, "three\n")
	f.held()
	f.gap()
	gaps := f.stop()
	if len(gaps) != 1 || gaps[0].Bytes != -1 || !strings.Contains(gaps[0].Why, "came and went") {
		t.Errorf("gaps: %+v", gaps)
	}
	if got := strings.Join(f.lines, " "); got != "one two three" {
		t.Errorf("read %q", got)
	}
}

func TestRotateCopyTruncate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "")
	f := follow(t, logtail.Config{Path: path, Poll: never}).ready()
	for i, text := range []string{"one", "two", "three"} {
		write(t, path, text+"\n")
		if l := f.line(); string(l.Bytes) != text || l.Offset != 0 {
			t.Fatalf("line %q %+v", l.Bytes, l)
		}
		copyTo(t, path, path+".1")
		must(t, os.Truncate(path, 0))
		if g := f.gap(); g.Bytes != -1 || !strings.Contains(g.Why, "copied") {
			t.Fatalf("truncation %d: %+v", i, g)
		}
	}
}

// What was written before the copy and not yet read is read from the copy.
func TestRotateCopyTruncateUnread(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\n")
	f := gated(t, path)
	f.held()
	write(t, path, "two\nunfini")
	copyTo(t, path, path+".1")
	must(t, os.Truncate(path, 0))
	write(t, path, "three, longer than what was there before\n")
	close(f.release)
	for range 3 {
		f.held()
	}
	gaps := f.stop()
	if got := strings.Join(f.lines, " "); got != "one two unfini| three, longer than what was there before" {
		t.Errorf("read %q", got)
	}
	if len(gaps) != 1 || gaps[0].Bytes != -1 || !strings.Contains(gaps[0].Why, "10 bytes were read from the copy") {
		t.Errorf("gaps: %+v", gaps)
	}
}

// A copy beside the log is no file that was rotated away unread.
func TestRotateCopyThenRename(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\n")
	f := gated(t, path)
	f.held()
	copyTo(t, path, path+".1")
	must(t, os.Rename(path, path+".2"))
	write(t, path, "two\n")
	close(f.release)
	f.held()
	if gaps := f.stop(); len(gaps) > 0 || strings.Join(f.lines, " ") != "one two" {
		t.Errorf("read %q, gaps %v", f.lines, gaps)
	}
}

func TestRotateTruncateInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "")
	f := follow(t, logtail.Config{Path: path, Poll: never}).ready()
	write(t, path, "one\ntwo\nthr")
	f.want("one", "two")
	must(t, os.Truncate(path, 0))
	if l := f.line(); string(l.Bytes) != "thr" || !l.Partial || l.Offset != 8 {
		t.Errorf("unfinished line: %q %+v", l.Bytes, l)
	}
	if g := f.gap(); g.Bytes != -1 || g.File != path || !strings.Contains(g.Why, "offset 11") {
		t.Errorf("gap: %+v", g)
	}
	write(t, path, "four\n")
	if l := f.line(); string(l.Bytes) != "four" || l.Offset != 0 {
		t.Errorf("line %q %+v", l.Bytes, l)
	}
}

// A file that has grown past the place reached is no shorter: only its bytes
// tell that it was emptied.
func TestRotateTruncateAndGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\n")
	f := gated(t, path)
	f.held()
	must(t, os.WriteFile(path, []byte("two\nthree\n"), 0o644)) // O_TRUNC
	close(f.release)
	for range 2 {
		f.held()
	}
	if gaps := f.stop(); len(gaps) != 1 || gaps[0].Bytes != -1 {
		t.Errorf("gaps: %+v", gaps)
	}
	if got := strings.Join(f.lines, " "); got != "one two three" {
		t.Errorf("read %q", got)
	}
}

// What was seen of the file and not yet read when it was emptied has a size.
func TestRotateTruncateWhileBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	line := strings.Repeat("x", 99) + "\n"
	const lines = 10_000
	write(t, path, strings.Repeat(line, lines))
	var read, lost int64
	ctx, cancel := context.WithCancel(context.Background())
	err := logtail.Follow(ctx, logtail.Config{Path: path, From: logtail.FromBeginning, Poll: never}, logtail.Handler{
		Line: func(l logtail.Line) error {
			if read == 0 {
				must(t, os.Truncate(path, 0))
			}
			read += l.Size
			return nil
		},
		Gap: func(g logtail.Gap) { lost += g.Bytes; cancel() },
	})
	must(t, err)
	if lost <= 0 || read+lost != int64(lines*len(line)) {
		t.Errorf("%d bytes read and %d lost of %d", read, lost, lines*len(line))
	}
}

func TestRotateCompress(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "")
	f := follow(t, logtail.Config{Path: path, Poll: never}).ready()
	write(t, path, "one\n")
	f.want("one")
	must(t, os.Rename(path, path+".1"))
	write(t, path+".1", "two\n")
	if out, err := exec.Command("gzip", path+".1").CombinedOutput(); err != nil {
		t.Fatalf("gzip: %v: %s", err, out)
	}
	f.want("two")
	write(t, path, "three\n")
	f.want("three")
	f.complete()
}

func TestRotateSymlink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	for _, d := range []string{"x", "y"} {
		must(t, os.Mkdir(filepath.Join(dir, d), 0o755))
		write(t, filepath.Join(dir, d, "0.log"), "")
	}
	must(t, os.Symlink("x/0.log", path))
	f := follow(t, logtail.Config{Path: path, Poll: never}).ready()
	write(t, filepath.Join(dir, "x", "0.log"), "one\n")
	f.want("one")
	// The target rotates where it lies.
	must(t, os.Rename(filepath.Join(dir, "x", "0.log"), filepath.Join(dir, "x", "0.log.1")))
	write(t, filepath.Join(dir, "x", "0.log"), "two\n")
	f.want("two")
	// The link is replaced by one to another file.
	must(t, os.Symlink(filepath.Join(dir, "y", "0.log"), path+".tmp"))
	must(t, os.Rename(path+".tmp", path))
	write(t, filepath.Join(dir, "y", "0.log"), "three\n")
	f.want("three")
	f.complete()
}

// "./" makes two spellings of one directory, for which fsnotify keeps one watch.
func TestRotateSymlinkBesideTarget(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	must(t, os.Symlink("./day.1", path))
	f := follow(t, logtail.Config{Path: path, Poll: never})
	f.note("does not exist yet")
	write(t, filepath.Join(dir, "day.1"), "one\n")
	f.want("one")
	write(t, filepath.Join(dir, "day.1"), "two\n")
	f.want("two")
	f.complete()
}

func TestRotateDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	path := filepath.Join(dir, "app.log")
	must(t, os.Mkdir(dir, 0o755))
	write(t, path, "")
	f := follow(t, logtail.Config{Path: path, Poll: never}).ready()
	write(t, path, "one\n")
	f.want("one")
	must(t, os.Remove(path))
	f.note("gone from its name")
	must(t, os.Remove(dir)) // its inode stays, pinned by the file that is held
	must(t, os.Mkdir(dir, 0o755))
	write(t, path, "two\n")
	f.want("two")
	// Renamed away as a whole, and another in its place.
	must(t, os.Rename(dir, dir+".old"))
	f.note("gone from its name")
	must(t, os.Mkdir(dir, 0o755))
	write(t, path, "three\n")
	f.want("three")
	write(t, path, "four\n")
	f.want("four")
	f.complete()
}

func TestRotateBecomesNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "")
	f := follow(t, logtail.Config{Path: path, Poll: never}).ready()
	for kind, make := range map[string]func(string, uint32) error{"directory": unix.Mkdir, "named pipe": unix.Mkfifo} {
		must(t, os.Remove(path))
		must(t, make(path, 0o755))
		f.note("it is a " + kind + " now")
		must(t, os.Remove(path))
		write(t, path, kind+"\n")
		f.want(kind)
	}
	f.complete()
}

func copyTo(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, b, 0o644))
}
