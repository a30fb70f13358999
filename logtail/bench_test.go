package logtail_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	benchSize = 1 << 30 // bytes
	lineSize  = 200     // newline included

	mostOfTail = 3.0      // times tail's time for the whole file
	mostMemory = 20 << 20 // bytes resident
)

// BenchmarkTail compares programs that follow with tail(1), in turns. The table
// at the end has the medians.
func BenchmarkTail(b *testing.B) {
	var table strings.Builder
	b.Run("throughput", func(b *testing.B) { throughput(b, &table) })
	for _, rate := range []int{50, 10_000} {
		b.Run(fmt.Sprintf("latency at %d lines a second", rate), func(b *testing.B) { latency(b, &table, rate) })
	}
	b.Run("1,000 files", func(b *testing.B) { thousand(b, &table) })
	fmt.Printf("\n%s\n", table.String())
}

// throughput reads a whole file that is in the page cache.
func throughput(b *testing.B, table *strings.Builder) {
	path := filepath.Join(b.TempDir(), "app.log")
	chunk := bytes.Repeat(append(bytes.Repeat([]byte("x"), lineSize-1), '\n'), 5000)
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	var lines int
	for n := 0; n < benchSize; n += len(chunk) {
		if _, err := f.Write(chunk); err != nil {
			b.Fatal(err)
		}
		lines += 5000
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	var took [3][]time.Duration
	var memory int64
	for b.Loop() {
		for i, cmd := range []*exec.Cmd{ours("count " + path), exec.Command("tail", "-c", "+1", path), exec.Command("cat", path)} {
			var out bytes.Buffer
			if i == 0 {
				cmd.Stdout = &out
			} // else /dev/null
			began := time.Now()
			if err := cmd.Run(); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(began))
			if i == 0 {
				memory = max(memory, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss<<10)
				if got := strings.TrimSpace(out.String()); got != strconv.Itoa(lines) {
					b.Fatalf("%s lines of %d", got, lines)
				}
			}
		}
	}
	us, tail, cat := median(took[0]), median(took[1]), median(took[2])
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(us)/float64(tail), "times-tail")
	b.ReportMetric(float64(memory)/(1<<20), "MiB-resident")
	row(table, "1 GiB, lines of 200 bytes", us, "tail -c +1", tail, float64(us)/float64(tail), mostOfTail)
	row(table, "the same", us, "cat", cat, float64(us)/float64(cat), 0)
	fmt.Fprintf(table, "%-28s %.1f million lines a second, %.1f MiB resident, at most %d: %s\n", "", float64(lines)/us.Seconds()/1e6,
		float64(memory)/(1<<20), mostMemory>>20, passed(memory <= mostMemory))
}

// latency is the time from before a write until a program has the line: ours in
// the process that follows, tail's in the one that reads its output. Both wait
// for file events; neither is told of the line.
func latency(b *testing.B, table *strings.Builder, rate int) {
	path := filepath.Join(b.TempDir(), "app.log")
	w, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	var middle, late [2][]time.Duration // of each turn
	for b.Loop() {
		for i, read := range []func(*running) ([]time.Duration, error){clockOurs, clockTail} {
			cmd := ours("time " + path)
			if i == 1 {
				cmd = exec.Command("tail", "-n", "0", "-F", path)
			}
			r, err := start(cmd)
			if err != nil {
				b.Fatal(err)
			}
			ready, done := make(chan bool), make(chan error, 1)
			go func() {
				_, err := r.lines.ReadString('\n')
				close(ready)
				if err == nil {
					var got []time.Duration
					got, err = read(r)
					middle[i] = append(middle[i], quantile(got, 0.5))
					late[i] = append(late[i], quantile(got, 0.99))
				}
				done <- err
			}()
			err = writeLines(w, ready, rate)
			if read := <-done; err != nil || read != nil {
				b.Fatal(err, read)
			}
			if _, err := r.end(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	for _, q := range []struct {
		name  string
		turns [2][]time.Duration
	}{{"median", middle}, {"p99", late}} {
		us, tail := median(q.turns[0]), median(q.turns[1])
		b.ReportMetric(float64(us.Nanoseconds()), q.name+"-ns")
		row(table, fmt.Sprintf("latency, %d lines a second, %s", rate, q.name), us, "tail -F", tail, float64(us)/float64(tail), 1)
	}
}

// clockOurs takes the times that our program says.
func clockOurs(r *running) (took []time.Duration, err error) {
	for {
		text, err := r.lines.ReadString('\n')
		if err == io.EOF {
			return took, nil
		}
		ns, bad := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err = errors.Join(err, bad); err != nil {
			return nil, err
		}
		took = append(took, time.Duration(ns))
	}
}

// clockTail takes the time of each line that comes out of tail.
func clockTail(r *running) ([]time.Duration, error) {
	var c clocked
	for {
		text, err := r.lines.ReadString('\n')
		if err != nil || c.line(text, monotonic()) {
			return c.took, err
		}
	}
}

// writeLines writes a line now and then until one has come through, then lines for a
// second, and an end.
func writeLines(w *os.File, ready <-chan bool, rate int) (err error) {
	filler := strings.Repeat("x", lineSize-20)
	line := func(word string) {
		if err == nil {
			_, err = w.WriteString(word + " " + filler + "\n")
		}
	}
	const tick = time.Millisecond
	for waiting := true; waiting && err == nil; {
		line("probe")
		select {
		case <-ready:
			waiting = false
		case <-time.After(10 * tick):
		}
	}
	every, burst := time.Second/time.Duration(rate), 1
	if every < tick {
		every, burst = tick, int(tick/every)
	}
	clock := time.NewTicker(every)
	defer clock.Stop()
	for end := time.Now().Add(time.Second); err == nil && time.Now().Before(end); <-clock.C {
		for range burst {
			line(strconv.FormatInt(int64(monotonic()), 10))
		}
	}
	line("end")
	return err
}

// thousand follows 1,000 files, of which ten get a line ten times a second.
func thousand(b *testing.B, table *strings.Builder) {
	const files, active, second = 1000, 10, 100
	dir := b.TempDir()
	var names []string
	for i := range files {
		names = append(names, filepath.Join(dir, fmt.Sprintf("%03d.log", i)))
		if err := os.WriteFile(names[i], nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	var writers []*os.File
	for i := range active {
		w, err := os.OpenFile(names[i*files/active], os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			b.Fatal(err)
		}
		defer w.Close()
		writers = append(writers, w)
	}
	var used, passed [2]time.Duration
	programs := [2]*running{}
	for i, cmd := range []*exec.Cmd{ours("follow " + filepath.Join(dir, "*.log")), exec.Command("tail", append([]string{"-q", "-n", "0", "-F"}, names...)...)} {
		var err error
		if programs[i], err = start(cmd); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() { // a second each, both at once: they share the files
		began := time.Now()
		for tick := range 10 {
			for _, w := range writers {
				if _, err := w.WriteString("a line\n"); err != nil {
					b.Fatal(err)
				}
			}
			time.Sleep(time.Until(began.Add(time.Duration(tick+1) * time.Second / 10)))
		}
		for i := range passed {
			passed[i] += time.Since(began)
		}
	}
	for i, p := range programs {
		var err error
		if used[i], err = p.end(); err != nil {
			b.Fatal(err)
		}
	}
	share := func(i int) float64 { return 100 * used[i].Seconds() / passed[i].Seconds() }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(share(0), "%-of-a-core")
	fmt.Fprintf(table, "%-28s ours %.2f %% of a core, with the start; tail -F %.2f %%; %d lines a second in %d of %d files\n", "1,000 files watched", share(0), share(1), second, active, files)
}

func row(table *strings.Builder, what string, us time.Duration, rival string, them time.Duration, ratio, most float64) {
	target := ""
	if most > 0 {
		target = fmt.Sprintf("at most %g: %s", most, passed(ratio <= most))
	}
	fmt.Fprintf(table, "%-42s ours %-10v %-10s %-10v ratio %.2f  %s\n", what, us.Round(us/1000+1), rival, them.Round(them/1000+1), ratio, target)
}

func passed(ok bool) string {
	if ok {
		return "PASS"
	}
	return "MISS"
}

func median(d []time.Duration) time.Duration { return quantile(d, 0.5) }

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[min(len(d)-1, int(q*float64(len(d))))]
}
