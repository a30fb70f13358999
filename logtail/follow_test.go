package logtail_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/logtail"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// never is a Poll that does not come: what is seen is seen by file events.
const never = time.Hour

// follower is what Follow and its like have in common.
type follower func(context.Context, logtail.Config, logtail.Handler) error

// got is one call of a Handler.
type got struct {
	line logtail.Line
	text string
	gap  *logtail.Gap
	note string
}

// following is a Follow that runs until the test ends.
type following struct {
	t      *testing.T
	path   string
	calls  chan got
	cancel context.CancelFunc
	done   chan error
	notes  []string
	gaps   []logtail.Gap
}

func follow(t *testing.T, cfg logtail.Config) *following {
	t.Helper()
	return followWith(t, logtail.Follow, cfg)
}

// followWith runs any of the followers.
func followWith(t *testing.T, run follower, cfg logtail.Config) *following {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &following{t: t, path: cfg.Path, calls: make(chan got, 1<<16), cancel: cancel, done: make(chan error, 1)}
	go func() {
		f.done <- run(ctx, cfg, logtail.Handler{
			Line: func(l logtail.Line) error { f.calls <- got{line: l, text: string(l.Bytes)}; return nil },
			Gap:  func(g logtail.Gap) { f.calls <- got{gap: &g} },
			Note: func(s string) { f.calls <- got{note: s} },
		})
		close(f.calls)
	}()
	t.Cleanup(func() { f.stop() })
	return f
}

// stop cancels and returns the lines that came since the last one asked for.
func (f *following) stop() (rest []string) {
	f.cancel()
	for c := range f.calls {
		if c.gap == nil && c.note == "" {
			rest = append(rest, c.text)
		}
		f.keep(c)
	}
	if err, ok := <-f.done; ok {
		close(f.done)
		if err != nil {
			f.t.Errorf("Follow: %v", err)
		}
	}
	return rest
}

func (f *following) keep(c got) {
	if c.gap != nil {
		f.gaps = append(f.gaps, *c.gap)
	}
	if c.note != "" {
		f.notes = append(f.notes, c.note)
	}
}

// next waits for a call that wanted accepts and drops those before it.
func (f *following) next(what string, wanted func(got) bool) got {
	f.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case c, ok := <-f.calls:
			if !ok {
				f.t.Fatalf("Follow ended before %s; gaps %v, notes %q", what, f.gaps, f.notes)
			}
			f.keep(c)
			if wanted(c) {
				return c
			}
		case <-timeout:
			f.t.Fatalf("waited %v for %s; gaps %v, notes %q", patience, what, f.gaps, f.notes)
		}
	}
}

func (f *following) line() logtail.Line {
	f.t.Helper()
	c := f.next("a line", func(c got) bool { return c.gap == nil && c.note == "" })
	c.line.Bytes = []byte(c.text)
	return c.line
}

// want waits for exactly these lines.
func (f *following) want(texts ...string) {
	f.t.Helper()
	for _, text := range texts {
		if l := f.line(); string(l.Bytes) != text {
			f.t.Fatalf("line %q, want %q; gaps %v, notes %q", l.Bytes, text, f.gaps, f.notes)
		}
	}
}

// note waits for a note that contains part.
func (f *following) note(part string) {
	f.t.Helper()
	f.next("note "+part, func(c got) bool { return strings.Contains(c.note, part) })
}

func (f *following) gap() logtail.Gap {
	f.t.Helper()
	return *f.next("a gap", func(c got) bool { return c.gap != nil }).gap
}

// ready waits until the file is followed; a line written then is seen.
func (f *following) ready() *following {
	f.t.Helper()
	f.note("followed from")
	return f
}

// complete stops and fails if anything was left over or lost.
func (f *following) complete() {
	f.t.Helper()
	if rest := f.stop(); len(rest) > 0 {
		f.t.Errorf("more lines than wanted: %q", rest)
	}
	if len(f.gaps) > 0 {
		f.t.Errorf("gaps: %v", f.gaps)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return st.Ino
}

func TestFollowLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "before\n")
	f := follow(t, logtail.Config{Path: path, Poll: never}).ready()
	write(t, path, "one\n\ntw")
	f.want("one", "")
	write(t, path, "o\r\n")
	l := f.line()
	if string(l.Bytes) != "two\r" || l.Offset != 12 || l.Size != 5 || l.Inode != inode(t, path) || l.File != path || l.Cut || l.Partial {
		t.Errorf("line %+v", l)
	}
	write(t, path, "unfinished")
	if rest := f.stop(); len(rest) != 1 || rest[0] != "unfinished" {
		t.Errorf("the last read gave %q", rest)
	}
}

func TestFollowStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\ntwo\nthr")
	ino := inode(t, path)
	for _, c := range []struct {
		name string
		from logtail.Start
		want []string
	}{
		{"now, with the line being written", nil, []string{"thr"}},
		{"beginning", logtail.FromBeginning, []string{"one", "two", "thr"}},
		{"offset", logtail.Position{Inode: ino, Offset: 4}, []string{"two", "thr"}},
		{"offset of the partial line", logtail.Position{Inode: ino, Offset: 8}, []string{"thr"}},
		{"offset within a line", logtail.Position{Inode: ino, Offset: 5}, []string{"gap", "one", "two", "thr"}},
		{"offset beyond the end", logtail.Position{Inode: ino, Offset: 99}, []string{"gap", "one", "two", "thr"}},
		{"offset negative", logtail.Position{Inode: ino, Offset: -1}, []string{"gap", "one", "two", "thr"}},
		{"another inode", logtail.Position{Inode: ino + 1000, Offset: 4}, []string{"gap", "one", "two", "thr"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			var seen []string
			err := logtail.Follow(ctx, logtail.Config{Path: path, From: c.from}, logtail.Handler{
				Line: func(l logtail.Line) error { seen = append(seen, string(l.Bytes)); return nil },
				Gap:  func(logtail.Gap) { seen = append(seen, "gap") },
			})
			must(t, err)
			if fmt.Sprint(seen) != fmt.Sprint(c.want) {
				t.Errorf("read %q, want %q", seen, c.want)
			}
		})
	}
}

func TestFollowResumesInRotatedFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.log")
	write(t, path, "one\ntwo\n")
	ino := inode(t, path)
	must(t, os.Rename(path, path+".2"))
	// A birth is told apart from the one before by a tick of the file clock.
	awaitTick()
	write(t, path, "three\n")
	must(t, os.Rename(path, path+".1"))
	awaitTick()
	write(t, path, "four\n")
	f := follow(t, logtail.Config{Path: path, Poll: never, From: logtail.Position{Inode: ino, Offset: 4}})
	f.want("two", "three", "four")
	write(t, path, "five\n")
	f.want("five")
	f.complete()
}

// awaitTick returns when the clock that stamps files has moved. Two ticks: programs may
// see one a moment before the kernel's files do (kernel/time/timekeeping.c, timekeeping_update).
func awaitTick() {
	for range 2 {
		var from, now unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &from)
		for now = from; now == from; {
			_ = unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now)
		}
	}
}

func TestFollowRefuses(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	line := func(logtail.Line) error { return nil }
	for _, c := range []struct {
		cfg  logtail.Config
		h    logtail.Handler
		want string
	}{
		{logtail.Config{Path: fifo}, logtail.Handler{Line: line}, "named pipe"},
		{logtail.Config{Path: dir}, logtail.Handler{Line: line}, "directory"},
		{logtail.Config{Path: "/dev/null"}, logtail.Handler{Line: line}, "device"},
		{logtail.Config{}, logtail.Handler{Line: line}, "Path is empty"},
		{logtail.Config{Path: "x"}, logtail.Handler{}, "no Line"},
		{logtail.Config{Path: "x", MaxLine: -1}, logtail.Handler{Line: line}, "MaxLine"},
		{logtail.Config{Path: "x", Poll: -1}, logtail.Handler{Line: line}, "Poll"},
	} {
		err := logtail.Follow(context.Background(), c.cfg, c.h)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Follow(%+v): %v, want %q", c.cfg, err, c.want)
		}
	}
}

func TestFollowEndsWithHandlersError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "one\ntwo\n")
	stop := fmt.Errorf("enough")
	n := 0
	err := logtail.Follow(context.Background(), logtail.Config{Path: path, From: logtail.FromBeginning}, logtail.Handler{
		Line: func(logtail.Line) error { n++; return stop },
	})
	if err != stop || n != 1 {
		t.Errorf("Follow: %v after %d lines", err, n)
	}
}

// Whoever ends following does not wait for all that a slow reader has left.
func TestFollowEndsInTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, strings.Repeat(strings.Repeat("x", 1023)+"\n", 12<<10))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var read, unread int64
	err := logtail.Follow(ctx, logtail.Config{Path: path, From: logtail.FromBeginning}, logtail.Handler{
		Line: func(l logtail.Line) error {
			cancel()
			time.Sleep(time.Millisecond) // a slow reader
			read += l.Size
			return nil
		},
		Gap: func(g logtail.Gap) { unread += g.Bytes },
	})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || unread <= 0 || read+unread != info.Size() {
		t.Errorf("%d bytes read, %d told as unread; together want the file's size, %v", read, unread, err)
	}
}
