package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// await polls until done says so.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(60 * time.Second); !done(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// The log grows, stands still while it is paused, and grows by much at once.
func TestGenerator(t *testing.T) {
	g := &Generator{Path: filepath.Join(t.TempDir(), "input.log"), Rate: 200}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- g.Run(ctx) }()
	await(t, "lines", func() bool { return g.Lines() >= 20 })
	g.Pause()
	stood := g.Lines()
	g.Burst(50)
	await(t, "the burst", func() bool { return g.Lines() == stood+50 })
	for range 10 { // and no further
		<-time.After(10 * time.Millisecond)
		if n := g.Lines(); n != stood+50 {
			t.Fatalf("%d lines while it is paused, want %d", n, stood+50)
		}
	}
	g.Resume()
	await(t, "more lines", func() bool { return g.Lines() > stood+60 })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	d, err := Delivered(g.Path, g.Lines())
	if want := (Delivery{Written: g.Lines(), Once: g.Lines()}); err != nil || d != want {
		t.Errorf("of its own lines: %+v, %v; want %+v", d, err, want)
	}
}

func TestDelivered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "output")
	var text bytes.Buffer
	for _, n := range []int{1, 2, 3, 2, 5, 5, 5, 8} {
		fmt.Fprintf(&text, "2026-01-02T03:04:05Z host %s%d of a log\n[INFO] something else\n", lineMark, n)
	}
	text.WriteString(lineMark + "99 more than was written\n" + lineMark + "x\n" + lineMark + "-1 y\n" + lineMark + "7")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Delivered(path, 12)
	if want := (Delivery{Written: 12, Once: 6, Doubled: 3, Lost: 2, Waiting: 4}); err != nil || d != want {
		t.Errorf("%+v, %v; want %+v", d, err, want)
	}
	if _, err := Delivered(filepath.Join(t.TempDir(), "none"), 1); err == nil {
		t.Error("a file that is not there is read")
	}
}

func FuzzLineNumber(f *testing.F) {
	f.Add([]byte("x " + lineMark + "12 y"))
	f.Add([]byte(lineMark))
	f.Add([]byte(lineMark + "0 "))
	f.Fuzz(func(t *testing.T, line []byte) {
		if n, ok := lineNumber(line); ok && (n <= 0 || !bytes.Contains(line, []byte(lineMark))) {
			t.Errorf("line %q has number %d", line, n)
		}
	})
}
