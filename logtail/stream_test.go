package logtail_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"halfopen/logtail"
)

// followStream makes a follower of a stream.
func followStream(r io.ReadCloser) follower {
	return func(ctx context.Context, cfg logtail.Config, h logtail.Handler) error {
		return logtail.FollowStream(ctx, r, cfg, h)
	}
}

// The standard output of a program, to its end.
func TestStreamOfProgram(t *testing.T) {
	cmd := exec.Command("sh", "-c", `printf 'one\n\ntwo\377\000\nunfinished'`)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	var lines []logtail.Line
	err = logtail.FollowStream(t.Context(), out, logtail.Config{Path: "stdout of sh"}, logtail.Handler{
		Line: func(l logtail.Line) error {
			l.Bytes = append([]byte(nil), l.Bytes...)
			lines = append(lines, l)
			return nil
		},
	})
	must(t, err)
	_ = cmd.Wait()
	var texts []string
	for _, l := range lines {
		texts = append(texts, string(l.Bytes))
	}
	if strings.Join(texts, "|") != "one||two\xff\x00|unfinished" {
		t.Fatalf("%q", texts)
	}
	if l := lines[3]; !l.Partial || l.Offset != 11 || l.Size != 10 || l.File != "stdout of sh" {
		t.Errorf("%+v", l)
	}
}

// A handler that stands still makes the writer wait for nothing, the memory
// grow no further than the queue, and the loss a gap of the right size.
func TestStreamSlowHandler(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	release := make(chan bool)
	var read, lost, lines, lostLines int64
	done := make(chan error)
	go func() {
		done <- logtail.FollowStream(t.Context(), r, logtail.Config{Path: "stdout"}, logtail.Handler{
			Line: func(l logtail.Line) error {
				if lines++; lines == 1 {
					<-release
				}
				read += l.Size
				return nil
			},
			Gap: func(g logtail.Gap) {
				lost, lostLines = lost+g.Bytes, lostLines+g.Lines
				if !strings.Contains(g.Why, "too slow") || g.File != "stdout" {
					t.Errorf("gap %+v", g)
				}
			},
		})
	}()
	line := []byte(strings.Repeat("x", 199) + "\n")
	const n = 200_000 // 40 MB: ten times the queue
	for range n {
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	must(t, w.Close())
	must(t, <-done)
	if read+lost != n*200 || lines+lostLines != n || lost == 0 || read > 6<<20 {
		t.Errorf("%d bytes in %d lines read, %d in %d lost, of %d in %d", read, lines, lost, lostLines, n*200, n)
	}
}

// A writer that can wait loses nothing to a handler that is slow for a while.
func TestStreamPatience(t *testing.T) {
	const n, size = 200_000, 200 // 40 MB: ten times the queue
	text := strings.NewReader(strings.Repeat(strings.Repeat("x", size-1)+"\n", n))
	full := make(chan bool)
	in := &watchedReader{Reader: text, at: n*size - 4<<20/(size+128)*size, reached: full}
	lines := 0
	cfg := logtail.Config{Path: "stdout", Patience: time.Minute}
	err := logtail.FollowStream(t.Context(), io.NopCloser(in), cfg, logtail.Handler{
		Line: func(logtail.Line) error {
			if lines++; lines == 1 {
				<-full
			}
			return nil
		},
		Gap: func(g logtail.Gap) { t.Errorf("gap %+v", g) },
	})
	must(t, err)
	if lines != n {
		t.Errorf("%d lines, want %d", lines, n)
	}
}

// watchedReader tells when no more than at bytes are left to read.
type watchedReader struct {
	*strings.Reader
	at      int
	reached chan<- bool
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.reached != nil && r.Len() <= r.at {
		close(r.reached)
		r.reached = nil
	}
	return n, err
}

// The end of the context ends a Read that waits, and what was read is handed on.
func TestStreamEnds(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer w.Close()
	f := followWith(t, followStream(r), logtail.Config{Path: "pipe"})
	_, err = w.WriteString("one\n")
	must(t, err)
	f.want("one")
	f.complete()
	if _, err := w.WriteString("x"); !errors.Is(err, os.ErrClosed) && !strings.Contains(err.Error(), "broken pipe") {
		t.Errorf("the other end is open: %v", err)
	}
}

func TestStreamErrors(t *testing.T) {
	broken := errors.New("broken")
	h := logtail.Handler{Line: func(logtail.Line) error { return nil }}
	err := logtail.FollowStream(t.Context(), io.NopCloser(iotest.ErrReader(broken)), logtail.Config{Path: "x"}, h)
	if !errors.Is(err, broken) {
		t.Errorf("error of the reader: %v", err)
	}
	h.Line = func(logtail.Line) error { return broken }
	if err := logtail.FollowStream(t.Context(), io.NopCloser(strings.NewReader("a\nb\n")), logtail.Config{Path: "x"}, h); err != broken {
		t.Errorf("error of the handler: %v", err)
	}
	if err := logtail.FollowStream(t.Context(), io.NopCloser(strings.NewReader("")), logtail.Config{}, h); err == nil {
		t.Error("no name, no error")
	}
}
