package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"halfopen/flow"
	"halfopen/logtail"
	"halfopen/timeline"
)

// logged is a log that is followed into a recording.
type logged struct {
	t    *testing.T
	rec  *Recorder
	logs *Logs
	end  func() // reads what is there, and ends

	mu      sync.Mutex
	records []timeline.Record
}

func follow(t *testing.T, logs *Logs, prepare func(rec *Recorder, copyPath string)) *logged {
	t.Helper()
	l := &logged{t: t, logs: logs}
	var err error
	l.rec, err = Open(t.TempDir(), timeline.Header{Tool: "test", Experiment: "halfopen-nat", Ports: flow.NewPorts(5044)}, func(r timeline.Record) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.records = append(l.records, r)
	})
	if err != nil {
		t.Fatal(err)
	}
	l.rec.patience = time.Minute
	if prepare != nil {
		prepare(l.rec, l.rec.Path(logs.copyName()))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- logs.Run(ctx, l.rec) }()
	l.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := l.rec.Close(timeline.End{Reason: timeline.EndDone}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(l.end)
	return l
}

// all gives one kind of the records so far.
func all[T any](l *logged, kind func(timeline.Body) *T) (out []*T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if b := kind(r.Body); b != nil {
			out = append(out, b)
		}
	}
	return out
}

func (l *logged) events() []*timeline.Event {
	return all(l, func(b timeline.Body) *timeline.Event { return b.Event })
}
func (l *logged) index() []*timeline.Logs {
	return all(l, func(b timeline.Body) *timeline.Logs { return b.Logs })
}
func (l *logged) gaps() []*timeline.Gap {
	return all(l, func(b timeline.Body) *timeline.Gap { return b.Gap })
}
func (l *logged) failures() []*timeline.Failure {
	return all(l, func(b timeline.Body) *timeline.Failure { return b.Failure })
}

func (l *logged) copied() string {
	l.t.Helper()
	text, err := os.ReadFile(l.rec.Path(l.logs.copyName()))
	if err != nil && !errors.Is(err, os.ErrNotExist) { // not begun yet
		l.t.Fatal(err)
	}
	return string(text)
}

func (l *logged) await(what string, is func() bool) {
	l.t.Helper()
	if !comes(is) {
		l.t.Fatalf("waited for %s in vain; failures %+v", what, l.failures())
	}
}

// sources are the texts of files, by inode.
func sources(t *testing.T, paths ...string) map[uint64]string {
	t.Helper()
	texts := map[uint64]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		texts[inodeOf(st)] = string(text)
	}
	return texts
}

// checkIndex compares what the index says with the log's files, and sums it up.
func (l *logged) checkIndex(sources map[uint64]string) (size, lines int) {
	l.t.Helper()
	copied, end := l.copied(), int64(0)
	for _, x := range l.index() {
		if x.Offset < end || x.Name != "filebeat" || x.File != l.rec.Name("filebeat-container.log") ||
			copied[x.Offset:x.Offset+x.Bytes] != sources[x.SourceInode][x.SourceOffset:x.SourceOffset+x.Bytes] {
			l.t.Errorf("index %+v: the copy is not as the log", x)
		}
		end = x.Offset + x.Bytes
		size, lines = size+int(x.Bytes), lines+x.Lines
	}
	return size, lines
}

const telling = "2026-11-21T12:00:00.123Z\tERROR\tlogstash/async.go:280\tFailed to publish events caused by: read tcp 10.50.0.2:33342->10.51.0.2:5044: i/o timeout"

// Every line is copied as it is, through a rotation; the index says of each byte
// where it is from, and an event where its line is, in the log and in the copy.
func TestLogsCopy(t *testing.T) {
	log := filepath.Join(t.TempDir(), "filebeat.log")
	appendTo(t, log, "before\n")
	l := follow(t, &Logs{Name: "filebeat", Path: log, From: logtail.FromBeginning}, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	want := "before\n"
	for i := range 3000 {
		line := make([]byte, rng.IntN(200))
		for j := range line {
			line[j] = byte(rng.IntN(256)) // binary, and what is no UTF-8
		}
		line = append(bytes.ReplaceAll(line, []byte("\n"), nil), '\n')
		if i%500 == 250 {
			line = []byte(telling + fmt.Sprint(i) + "\n")
		}
		want += string(line)
		appendTo(t, log, string(line))
		if i == 1500 {
			l.await("the lines so far", func() bool { return len(l.copied()) == len(want) })
			if err := os.Rename(log, log+".1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.await("all lines", func() bool { return len(l.copied()) >= len(want) })
	l.end()
	got := l.copied()
	if got != want {
		t.Fatal("the copy differs")
	}
	source := sources(t, log, log+".1")
	if indexed, lines := l.checkIndex(source); indexed != len(want) || lines != 3001 {
		t.Errorf("%d bytes and %d lines are indexed, want %d and 3001", indexed, lines, len(want))
	}
	events := l.events()
	if len(events) != 6 {
		t.Fatalf("%d events, want 6", len(events))
	}
	for _, e := range events {
		if !strings.HasPrefix(got[e.Offset:], e.Line+"\n") || !strings.HasPrefix(source[e.SourceInode][e.SourceOffset:], e.Line+"\n") || e.File == "" {
			t.Errorf("event %+v: not where it says", e)
		}
		if e.Pattern != "filebeat-io-timeout" || e.Logged == nil || e.LoggedAs != "2026-11-21T12:00:00.123Z" || e.LoggedBy != "" || e.Message != "" {
			t.Errorf("event %+v", e)
		}
	}
	if len(l.gaps())+len(l.failures()) != 0 {
		t.Errorf("gaps %+v, failures %+v", l.gaps(), l.failures())
	}
}

// A line beyond the limit is cut, one that a rotation left unfinished stays a line
// of its own, and both are told of.
func TestLogsCutAndUnfinished(t *testing.T) {
	log := filepath.Join(t.TempDir(), "filebeat.log")
	long := strings.Repeat("x", 1<<20+5000)
	appendTo(t, log, "one\n"+long+"\ntwo\nunfinished")
	l := follow(t, &Logs{Name: "filebeat", Path: log, From: logtail.FromBeginning}, nil)
	want := "one\n" + long[:1<<20] + "\ntwo\n"
	l.await("the whole lines", func() bool { return l.copied() == want })
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, "three\n")
	l.await("the next file", func() bool { return strings.Contains(l.copied(), "three\n") })
	appendTo(t, log, "four")
	l.end()
	lines := strings.Split(strings.TrimPrefix(l.copied(), want), "\n")
	slices.Sort(lines)
	if !slices.Equal(lines, []string{"four", "three", "unfinished"}) { // the old file is held a while
		t.Errorf("the copy ends with %q", lines)
	}
	if g := l.gaps(); len(g) != 1 || g[0].Lost != 5000 || g[0].File != log {
		t.Errorf("gaps %+v", g)
	}
	if _, n := l.checkIndex(sources(t, log, log+".1")); n != 6 {
		t.Errorf("%d lines are indexed, want 6", n)
	}
}

// What was there before the recording is marked, so that nobody takes it for news.
func TestLogsPast(t *testing.T) {
	for _, pattern := range []string{"filebeat.log", "*.log"} {
		t.Run(pattern, func(t *testing.T) {
			dir := t.TempDir()
			log := filepath.Join(dir, "filebeat.log")
			established := func(n int) string { return fmt.Sprintf("Connection to backoff(async(tcp://a:%d)) established\n", n) }
			at := func(off time.Duration) string {
				return time.Now().Add(off).UTC().Format("2006-01-02T15:04:05.000Z") + "\tINFO\t"
			}
			appendTo(t, log, established(1)+at(-time.Minute)+established(2))
			awaitStamps(t)
			l := follow(t, &Logs{Name: "filebeat", Path: filepath.Join(dir, pattern), From: logtail.FromBeginning}, nil)
			l.await("the old events", func() bool { return len(l.events()) == 2 })
			appendTo(t, log, established(3)+at(time.Second)+established(4))
			appendTo(t, filepath.Join(dir, "more.log"), established(5))
			want := 5
			if pattern == "filebeat.log" {
				want = 4
			}
			l.await("the new events", func() bool { return len(l.events()) == want })
			for _, e := range l.events() {
				if old := strings.Contains(e.Line, ":1)") || strings.Contains(e.Line, ":2)"); e.Past != old {
					t.Errorf("%s: past %v", e.Line, e.Past)
				}
			}
		})
	}
}

// The lines of many files share a copy, and the index tells them apart.
func TestLogsOfPattern(t *testing.T) {
	dir := t.TempDir()
	l := follow(t, &Logs{Name: "filebeat", Path: dir + "/*.log", Copy: "app", From: logtail.FromBeginning}, nil)
	want := map[string]string{}
	for i := range 400 {
		path := fmt.Sprintf("%s/%d.log", dir, i%4)
		line := fmt.Sprintf("line %d of %s\n", i, path)
		want[path] += line
		appendTo(t, path, line)
	}
	total := 0
	for _, text := range want {
		total += len(text)
	}
	l.await("all lines", func() bool { return len(l.copied()) == total })
	l.end()
	got := map[string]string{}
	copied := l.copied()
	for _, x := range l.index() {
		if int64(len(got[x.Source])) != x.SourceOffset || x.File != l.rec.Name("filebeat-app.log") {
			t.Errorf("index %+v, want the next at %d", x, len(got[x.Source]))
		}
		got[x.Source] += copied[x.Offset : x.Offset+x.Bytes]
	}
	for path, text := range want {
		if got[path] != text {
			t.Errorf("%s: got %q", path, got[path])
		}
	}
}

// A log in which every line means something does not flood the recording.
func TestLogsFlood(t *testing.T) {
	log := filepath.Join(t.TempDir(), "filebeat.log")
	const lines = 8000 // no more than may wait for the disk
	appendTo(t, log, strings.Repeat(telling+"\n", lines))
	l := follow(t, &Logs{Name: "filebeat", Path: log, From: logtail.FromBeginning}, nil)
	l.await("all lines", func() bool { return len(l.copied()) == lines*(len(telling)+1) })
	l.end()
	skipped := int64(0)
	for _, g := range l.gaps() {
		skipped += g.Lines
	}
	if n := int64(len(l.events())); n+skipped != lines || n < maxEvents || skipped == 0 {
		t.Errorf("%d events, %d skipped, of %d lines", n, skipped, lines)
	}
}

// A later recording goes on where the one before ended; after a crash some lines
// come twice, but none is lost.
func TestLogsResume(t *testing.T) {
	dir := t.TempDir()
	log, file := filepath.Join(dir, "filebeat.log"), filepath.Join(dir, "positions.json")
	open := func() *LogSet {
		p, err := logtail.OpenPositions(file)
		if err != nil {
			t.Fatal(err)
		}
		return &LogSet{Positions: p}
	}
	appendTo(t, log, "before\n")
	first := follow(t, &Logs{Name: "filebeat", Path: log, Set: open()}, nil)
	first.await("it to be followed", func() bool {
		return len(all(first, func(b timeline.Body) *timeline.Mark { return b.Mark })) > 0
	})
	appendTo(t, log, "one\n")
	first.await("the line", func() bool { return first.copied() == "one\n" })
	first.end()
	appendTo(t, log, "two\n")
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, "three\n")

	set := open()
	crashed := follow(t, &Logs{Name: "filebeat", Path: log, Set: set}, nil)
	crashed.await("what came meanwhile", func() bool { return crashed.copied() == "two\nthree\n" })
	set.save(crashed.rec, 0)
	saved, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, "four\n")
	crashed.await("the line", func() bool { return crashed.copied() == "two\nthree\nfour\n" })
	crashed.end()
	if err := os.WriteFile(file, saved, 0o600); err != nil { // as kill -9 would have left it
		t.Fatal(err)
	}
	third := follow(t, &Logs{Name: "filebeat", Path: log, Set: open()}, nil)
	third.await("what was not saved", func() bool { return third.copied() == "four\n" })
}
