package logtail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// The wall clock can't be set in a test. What matters of it is when a path was
// last looked at, by the clock that stamps files: that is moved instead.

type looking struct {
	*tail
	t     *testing.T
	lines []string
	gaps  []Gap
}

func look(t *testing.T, path string) *looking {
	l := &looking{t: t}
	cfg := Config{Path: path, From: FromBeginning, Poll: time.Hour}
	h := Handler{
		Line: func(line Line) error { l.lines = append(l.lines, string(line.Bytes)); return nil },
		Gap:  func(g Gap) { l.gaps = append(l.gaps, g) },
	}
	if err := prepare(&cfg, &h); err != nil {
		t.Fatal(err)
	}
	g := newGroup(cfg, h)
	t.Cleanup(g.close)
	if err := g.follow(path, path, cfg.From); err != nil {
		t.Fatal(err)
	}
	l.tail = g.paths[path]
	return l
}

func (l *looking) read(want ...string) {
	l.t.Helper()
	l.wake(true)
	if _, err := l.pass(turnSize); err != nil {
		l.t.Fatal(err)
	}
	if !slices.Equal(l.lines, want) || len(l.gaps) > 0 {
		l.t.Errorf("lines %q, gaps %v; want %q", l.lines, l.gaps, want)
	}
	l.lines = nil
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func rotate(t *testing.T, path string, n int, text string) {
	t.Helper()
	if err := os.Rename(path, fmt.Sprintf("%s.%d", path, n)); err != nil {
		t.Fatal(err)
	}
	put(t, path, text)
}

func TestClockSteps(t *testing.T) {
	for name, step := range map[string]time.Duration{"set back": time.Hour, "set forward": -time.Hour, "not": 0} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.log")
			put(t, path, "long ago\n")
			rotate(t, path, 1, "before\n")
			rotate(t, path, 2, "one\n")
			l := look(t, path)
			l.read("one")
			l.seen = l.seen.Add(step)
			for i, text := range []string{"two\n", "three\n", "four\n"} {
				rotate(t, path, 3+i, text)
			}
			l.read("two", "three", "four")
			l.seen = l.seen.Add(step)
			rotate(t, path, 6, "five\n")
			l.read("five")
		})
	}
}

// The number of a record of the kernel tells how many were overwritten.
func TestKernelNumbers(t *testing.T) {
	var lines []string
	var gaps []Gap
	k := &kernel{cfg: Config{Path: "x"}, h: Handler{Gap: func(g Gap) { gaps = append(gaps, g) }}, split: splitter{max: 100, line: func(l Line) error {
		lines = append(lines, string(l.Bytes))
		return nil
	}}}
	k.resume(":3")
	for _, record := range []string{"6,2,1,-;read before\n", "6,5,1,-;a\n DEVICE=n1\n", "6,6,1,-;b\n", "not a record\n", "6,9,1,-;c\n"} {
		if err := k.record([]byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"6,5,1,-;a", " DEVICE=n1", "6,6,1,-;b", "not a record", "6,9,1,-;c"}; !slices.Equal(lines, want) {
		t.Errorf("lines %q", lines)
	}
	if len(gaps) != 2 || gaps[0].Lines != 2 || gaps[1].Lines != 2 || gaps[0].Bytes != -1 {
		t.Errorf("gaps %+v", gaps)
	}
}

// Numbers of inodes come again; what was read last is remembered longest.
func TestMemory(t *testing.T) {
	m := newMemory()
	of := func(ino uint64, life int64) fileInfo {
		return fileInfo{id: fileID{ino: ino}, born: time.Unix(life, 0), size: life}
	}
	m.ignore(of(1, 1))
	m.hold(of(2, 1))
	for ino := range uint64(maxMemory - 2) {
		m.ignore(of(10+ino, 1))
	}
	m.hold(of(1, 2)) // the number is used again
	m.release(&file{info: of(1, 2), off: 7})
	for ino := range uint64(maxMemory / 2) {
		m.ignore(of(10_000+ino, 1))
	}
	if f, ok := m.get(of(1, 2)); !ok || f.end != 7 || m.knows(of(1, 1)) {
		t.Errorf("file that was released lately: %+v, %v", f, ok)
	}
	if f, ok := m.get(of(2, 1)); !ok || !f.held {
		t.Errorf("file that is held: %+v, %v", f, ok)
	}
	if m.knows(of(10, 1)) || len(m.order) > maxMemory || len(m.files) > maxMemory+1 {
		t.Errorf("%d files are remembered", len(m.files))
	}
}
