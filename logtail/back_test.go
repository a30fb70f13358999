package logtail_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/logtail"
)

// readOnce gives what a Follow that ends at once reads, a gap as "gap".
func readOnce(t *testing.T, cfg logtail.Config) (lines []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, logtail.Follow(ctx, cfg, logtail.Handler{
		Line: func(l logtail.Line) error { lines = append(lines, string(l.Bytes)); return nil },
		Gap:  func(g logtail.Gap) { lines = append(lines, "gap: "+g.Why) },
	}))
	return lines
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

func TestLastLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path+".2", "one\ntwo\n")
	must(t, os.Chtimes(path+".2", time.Time{}, time.Now().Add(-2*time.Hour)))
	write(t, path+".1", "three\ntorn")
	must(t, os.Chtimes(path+".1", time.Time{}, time.Now().Add(-time.Hour)))
	write(t, path+".1.gz", "packed\n")
	write(t, path, "four\n\nfive\nunfin")
	all := []string{"one", "two", "three", "torn", "four", "", "five", "unfin"}
	for n := range 9 {
		want := all[max(0, 7-n):]
		wantLines(t, readOnce(t, logtail.Config{Path: path, From: logtail.LastLines(n)}), want...)
	}
	wantLines(t, readOnce(t, logtail.Config{Path: path, From: logtail.LastLines(-1)}), "unfin")
	must(t, os.Remove(path)) // between two files
	wantLines(t, readOnce(t, logtail.Config{Path: path, From: logtail.LastLines(2)}), "three", "torn")
}

// Lines of any length, against the plain way to do it.
func TestLastLinesAnywhere(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "app.log")
	for range 40 {
		var text strings.Builder
		for range rng.IntN(2000) {
			text.WriteString(strings.Repeat("x", rng.IntN(2000)) + "\n")
		}
		must(t, os.WriteFile(path, []byte(text.String()), 0o644))
		all := strings.Split(text.String(), "\n")
		all = all[:len(all)-1]
		n := rng.IntN(2100)
		want := all[max(0, len(all)-n):]
		if got := readOnce(t, logtail.Config{Path: path, From: logtail.LastLines(n)}); !slices.Equal(got, want) {
			t.Fatalf("seed %d: the last %d of %d lines: got %d", seed, n, len(all), len(got))
		}
	}
}

// stamped writes lines a second apart, the last of them now.
func stamped(n int, form string) string {
	var b strings.Builder
	for i := range n {
		at := time.Now().Add(time.Duration(i+1-n) * time.Second).UTC().Format("2006-01-02T15:04:05.000000Z")
		fmt.Fprintf(&b, form, at, i)
	}
	return b.String()
}

func TestLastDuration(t *testing.T) {
	for name, form := range map[string]string{
		"plain":            "%s line %d\n",
		"with stack trace": "%s line %d\n\tat Main.java\n\n",
		"docker":           `{"log":"x\n","stream":"stdout","time":"%s","n":%d}` + "\n",
		"filebeat 8":       `{"log.level":"info","@timestamp":"%s","message":"%d"}` + "\n",
		"long":             "%s line %d " + strings.Repeat("x", 4000) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.log")
			began := time.Now()
			text := stamped(6000, form)
			must(t, os.WriteFile(path, []byte(text), 0o644))
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			per := len(lines) / 6000
			for _, seconds := range []int{0, 1, 60, 3000, 5990, 7000} {
				got := readOnce(t, logtail.Config{Path: path, From: logtail.LastDuration(time.Duration(seconds)*time.Second + time.Second/2)})
				// The clock goes on while this runs.
				late := int(time.Since(began) / time.Second)
				if least, most := min(seconds-2-late, 6000-2)*per, (seconds+1)*per; len(got) < least || len(got) > most {
					t.Errorf("%d s: %d lines, want %d to %d", seconds, len(got), least, most)
				}
				if len(got) > 0 && !slices.Equal(got, lines[len(lines)-len(got):]) {
					t.Errorf("%d s: not the last lines", seconds)
				}
			}
		})
	}
}

func TestLastDurationOverRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	began := time.Now()
	all := strings.SplitAfter(stamped(300, "%s line %d\n"), "\n")
	write(t, path+".2", strings.Join(all[:100], ""))
	must(t, os.Chtimes(path+".2", time.Time{}, time.Now().Add(-200*time.Second)))
	write(t, path+".1", strings.Join(all[100:200], ""))
	must(t, os.Chtimes(path+".1", time.Time{}, time.Now().Add(-100*time.Second)))
	write(t, path, strings.Join(all[200:], ""))
	got := readOnce(t, logtail.Config{Path: path, From: logtail.LastDuration(150*time.Second + time.Second/2)})
	if late := int(time.Since(began) / time.Second); len(got) < 148-late || len(got) > 151 || got[len(got)-1]+"\n" != all[299] {
		t.Errorf("%d lines, last %q", len(got), got[len(got)-1])
	}
}

// Where no line has a time there is too much rather than nothing, but not all.
func TestLastDurationWithoutTimes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, strings.Repeat(strings.Repeat("x", 99)+"\n", 50_000))
	got := readOnce(t, logtail.Config{Path: path, From: logtail.LastDuration(time.Minute)})
	if n := len(got) * 100; n < 1<<20-200 || n > 1<<20+200 {
		t.Errorf("%d bytes", n)
	}
}

// The place is found without reading the file: 256 MiB here, of which a little is.
func TestLastDurationReadsLittle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	began := time.Now()
	f, err := os.Create(path)
	must(t, err)
	line := " " + strings.Repeat("x", 970) + "\n"
	const n = 256 << 10
	var chunk strings.Builder
	for i := range n {
		chunk.WriteString(time.Now().Add(time.Duration(i-n) * time.Second).UTC().Format("2006-01-02T15:04:05.000000Z"))
		chunk.WriteString(line)
		if chunk.Len() > 1<<20 || i == n-1 {
			_, err := f.WriteString(chunk.String())
			must(t, err)
			chunk.Reset()
		}
	}
	must(t, f.Close())
	before := bytesRead(t)
	got := readOnce(t, logtail.Config{Path: path, From: logtail.LastDuration(time.Hour)})
	if late := int(time.Since(began) / time.Second); len(got) < 3598-late || len(got) > 3601 {
		t.Errorf("%d lines", len(got))
	}
	if read := bytesRead(t) - before; read > 16<<20 {
		t.Errorf("%d bytes were read", read)
	}
}

// bytesRead is what this process has read so far.
func bytesRead(t *testing.T) (n int64) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	must(t, err)
	if _, err := fmt.Sscanf(string(text), "rchar: %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A file without a newline is no log whose last lines can be found.
func TestLastLinesOfZeros(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zeros.log")
	write(t, path, "")
	must(t, os.Truncate(path, 100<<30)) // sparse
	for _, from := range []logtail.Start{logtail.LastLines(10), logtail.LastDuration(time.Hour)} {
		before := bytesRead(t)
		f := follow(t, logtail.Config{Path: path, Poll: never, From: from}).ready()
		write(t, path, "\nnext\n")
		for string(f.line().Bytes) != "next" {
		}
		f.complete()
		if read := bytesRead(t) - before; read > 64<<20 {
			t.Errorf("%T: %d bytes were read", from, read)
		}
		must(t, os.Truncate(path, 0))
		must(t, os.Truncate(path, 100<<30))
	}
}
