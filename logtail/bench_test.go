package logtail_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"halfopen/logtail"
)

// benchFile is a log of lines of 200 bytes, newline included.
func benchFile(b *testing.B, size int64) string {
	path := filepath.Join(b.TempDir(), "app.log")
	chunk := bytes.Repeat(append(bytes.Repeat([]byte("x"), 199), '\n'), 5000)
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	for n := int64(0); n < size; n += int64(len(chunk)) {
		if _, err := f.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size / int64(len(chunk)) * int64(len(chunk)))
	return path
}

const benchSize = 256 << 20

// BenchmarkFollow reads a whole file by Follow, each line handed on.
func BenchmarkFollow(b *testing.B) {
	path := benchFile(b, benchSize)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // the last read reads it all
	b.ReportAllocs()
	for b.Loop() {
		var lines, last int64
		err := logtail.Follow(ctx, logtail.Config{Path: path, From: logtail.FromBeginning}, logtail.Handler{
			Line: func(l logtail.Line) error { lines++; last = l.Offset + l.Size; return nil },
		})
		if err != nil || last != lines*200 || last < benchSize {
			b.Fatalf("%d lines, %d bytes: %v", lines, last, err)
		}
	}
}

// BenchmarkPlainRead is what the same file costs without lines.
func BenchmarkPlainRead(b *testing.B) {
	path := benchFile(b, benchSize)
	buf := make([]byte, 256<<10)
	for b.Loop() {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		for n := 1; n > 0; {
			n, _ = f.Read(buf)
		}
		_ = f.Close()
	}
}

// BenchmarkLatency is the time from before a write until the line is handed on.
func BenchmarkLatency(b *testing.B) {
	path := filepath.Join(b.TempDir(), "app.log")
	w, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	lines, done := make(chan time.Time), make(chan error)
	go func() {
		done <- logtail.Follow(ctx, logtail.Config{Path: path, From: logtail.FromBeginning, Poll: never}, logtail.Handler{
			Line: func(logtail.Line) error { lines <- time.Now(); return nil },
		})
	}()
	line := []byte("a line of a log\n")
	var worst time.Duration
	for b.Loop() {
		before := time.Now()
		if _, err := w.Write(line); err != nil {
			b.Fatal(err)
		}
		worst = max(worst, (<-lines).Sub(before))
	}
	b.ReportMetric(float64(worst), "worst-ns")
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	_ = w.Close()
}
