package collect

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"halfopen/flow"
	"halfopen/timeline"
)

// program is followed through lives that the test tells of.
type program struct {
	t     *testing.T
	rec   *Recorder
	lives chan Process
	end   func()

	mu    sync.Mutex
	marks []string
}

func followed(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, lives: make(chan Process)}
	var err error
	p.rec, err = Open(t.TempDir(), timeline.Header{Tool: "test", Experiment: "halfopen-nat", Ports: flow.NewPorts(5044)}, func(r timeline.Record) {
		if r.Mark != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.marks = append(p.marks, r.Mark.Text)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	p.rec.patience = time.Minute
	f := &Following{
		Name: "filebeat", At: "shipper",
		Watch: func(ctx context.Context, each func(Process)) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case life := <-p.lives:
					each(life)
				}
			}
		},
		NewLog: func(_ int, path string) *Logs { return &Logs{Name: "filebeat", Path: path} },
		Open:   func(Process) ([]Source, func(), error) { return nil, func() {}, nil },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx, p.rec) }()
	p.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := p.rec.Close(timeline.End{Reason: timeline.EndDone}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.end)
	return p
}

// live begins a life with that log, and waits until it is read.
func (p *program) live(pid int, log string) {
	p.t.Helper()
	p.lives <- Process{PID: pid, Running: true, Logs: []string{log}}
	p.await("it to be followed", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return strings.Contains(strings.Join(p.marks, "\n"), log+": followed from")
	})
}

func (p *program) copied() string {
	text, err := os.ReadFile(p.rec.Path("filebeat-container.log"))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

func (p *program) await(what string, is func() bool) {
	p.t.Helper()
	if !comes(is) {
		p.t.Fatalf("waited for %s in vain", what)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// Each life may have its log elsewhere. What was written between its start and
// the notice of it is read too, and nothing twice.
func TestLogOfEachLife(t *testing.T) {
	dir := t.TempDir()
	first, second, old := dir+"/1/log", dir+"/2/log", dir+"/old/log"
	appendTo(t, first, "before the recording\n")
	appendTo(t, old, "long before the recording\n")
	awaitStamps(t)
	p := followed(t)
	awaitStamps(t) // and what is new from what was there
	p.live(1, first)
	appendTo(t, first, "one\n")
	p.await("a line", func() bool { return p.copied() == "one\n" })

	appendTo(t, second, "two\n")
	appendTo(t, first, "last words\n")
	p.live(2, second) // a new file
	appendTo(t, second, "three\n")
	p.await("the second log", func() bool { return strings.Contains(p.copied(), "three\n") })

	if err := os.Symlink(dir+"/2", dir+"/3"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, second, "four\n")
	p.live(3, dir+"/3/log") // the same file by another path
	appendTo(t, second, "five\n")
	p.await("the same log", func() bool { return strings.Contains(p.copied(), "five\n") })

	p.live(4, old) // a file that was there before
	appendTo(t, old, "six\n")
	p.await("the old log", func() bool { return strings.Contains(p.copied(), "six\n") })
	p.live(5, old)
	p.lives <- Process{PID: 5}
	p.lives <- Process{PID: 6, Running: true, Logs: []string{dir + "/6/log"}} // one that is to come
	appendTo(t, dir+"/6/log", "seven\n")
	p.await("the log to come", func() bool { return strings.Contains(p.copied(), "seven\n") })
	p.end()
	if got, want := p.copied(), "one\nlast words\ntwo\nthree\nfour\nfive\nsix\nseven\n"; got != want {
		t.Errorf("copied %q, want %q", got, want)
	}
}

// A life that logged nothing leaves a place to go on from as well.
func TestLogOfQuietLife(t *testing.T) {
	dir := t.TempDir()
	log := dir + "/1/log"
	appendTo(t, log, "before the recording\n")
	if err := os.Symlink(dir+"/1", dir+"/2"); err != nil {
		t.Fatal(err)
	}
	p := followed(t)
	p.live(1, log)
	p.lives <- Process{PID: 1} // it has ended, and its log is held
	appendTo(t, log, "one\n")
	p.live(2, dir+"/2/log")
	p.await("a line", func() bool { return p.copied() == "one\n" })
}
