package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// benchLines is how many lines of 200 bytes the file has that is read; 5,368,709
// are 1 GiB.
var benchLines = flag.Int("bench-lines", 1_342_177, "read a file of so many `lines` of 200 bytes")

var follower = sync.OnceValues(func() (string, error) { return build("..", "./collect/testdata/follow") })

const (
	lineLength = 200 // bytes, with the newline
	// atLeast is how many times faster than Filebeat a log is to be followed.
	atLeast = 50
)

// BenchmarkFilebeat has Filebeat bring a file to its file output, and the
// recorder's follower hand on the same file line by line. Filebeat's time runs
// from its first event that is counted to the last, ours from the start of the
// program's work to its end.
func BenchmarkFilebeat(b *testing.B) {
	lines := *benchLines
	log := filepath.Join(b.TempDir(), "app.log")
	writeLog(b, log, lines)
	ours, theirs := built(b, follower), built(b, filebeat)
	for range b.N {
		var own, rival rate
		own.measure(b, lines, func() (int, time.Duration, int64) { return follow(b, ours, log, lines) })
		rival.measure(b, lines, func() (int, time.Duration, int64) { return ship(b, theirs, log, lines) })
		b.ReportMetric(own.perSecond, "lines/s")
		b.ReportMetric(rival.perSecond, "filebeat-lines/s")
		ratio, mark := own.perSecond/rival.perSecond, "PASS"
		if ratio < atLeast {
			mark = "MISS"
		}
		b.ReportMetric(ratio, "ratio")
		fmt.Printf("\n%d lines of %d bytes: ours %.0f lines a second, %d MiB; Filebeat 7.17.29 %.0f lines a second, %d MiB; ratio %.0f, at least %d: %s\n",
			lines, lineLength, own.perSecond, own.memory>>20, rival.perSecond, rival.memory>>20, ratio, atLeast, mark)
	}
}

// rate is what a program achieved.
type rate struct {
	perSecond float64
	memory    int64 // bytes, the most
}

func (r *rate) measure(b *testing.B, want int, run func() (lines int, took time.Duration, memory int64)) {
	b.Helper()
	lines, took, memory := run()
	if took <= 0 || lines > want || lines < want/2 {
		b.Fatalf("%d lines of %d were timed, in %s", lines, want, took)
	}
	r.perSecond, r.memory = float64(lines)/took.Seconds(), memory
}

func built(b *testing.B, build func() (string, error)) string {
	b.Helper()
	path, err := build()
	if err != nil {
		b.Fatal(err)
	}
	return path
}

func writeLog(b *testing.B, path string, lines int) {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	out := bufio.NewWriterSize(f, 1<<20)
	for i := range lines {
		head := fmt.Sprintf("2026-11-21T12:00:00.000Z INFO line %d ", i)
		out.WriteString(head)
		out.WriteString(strings.Repeat("x", lineLength-1-len(head)))
		out.WriteByte('\n')
	}
	if err := errors.Join(out.Flush(), f.Close()); err != nil {
		b.Fatal(err)
	}
}

// follow runs our follower.
func follow(b *testing.B, program, log string, lines int) (int, time.Duration, int64) {
	b.Helper()
	out, err := exec.Command(program, log, fmt.Sprint(lines)).CombinedOutput()
	if err != nil {
		b.Fatalf("follow: %v\n%s", err, out)
	}
	var took time.Duration
	var kib int64
	if _, err := fmt.Sscan(string(out), &took, &kib); err != nil {
		b.Fatalf("follow printed %q: %v", out, err)
	}
	return lines, took, kib << 10
}

const shipping = `
filebeat.inputs:
- type: log
  paths: ["%[1]s"]
  scan_frequency: 1s
output.file:
  path: %[2]s/out
  filename: events
  rotate_every_kb: 104857600
http.enabled: true
http.host: unix://%[2]s/stats.sock
path.home: %[2]s
logging.level: warning
`

// ship runs Filebeat until all lines are in its output, and counts them there.
func ship(b *testing.B, program, log string, lines int) (timed int, took time.Duration, memory int64) {
	b.Helper()
	dir := b.TempDir()
	conf := filepath.Join(dir, "filebeat.yml")
	if err := os.WriteFile(conf, fmt.Appendf(nil, shipping, log, dir), 0o600); err != nil {
		b.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.Command(program, "-e", "-c", conf)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	defer stop()
	asking := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "stats.sock"))
	}}}
	defer asking.CloseIdleConnections()
	acked := func() int {
		resp, err := asking.Get("http://filebeat/stats")
		if err != nil {
			return 0 // not up yet
		}
		defer resp.Body.Close()
		var st stats
		if err := json.NewDecoder(resp.Body).Decode(&st); err != nil {
			b.Fatalf("stats of Filebeat: %v", err)
		}
		return st.Libbeat.Output.Events.Acked
	}
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(10 * time.Minute)
	var first int
	var began time.Time
	for n := 0; n < lines; {
		select {
		case <-poll.C:
		case <-deadline:
			b.Fatalf("Filebeat brought %d lines of %d in 10 minutes:\n%s", n, lines, &said)
		}
		if n = acked(); n > 0 && first == 0 {
			first, began = n, time.Now()
		}
	}
	took = time.Since(began)
	stop()
	use, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		b.Fatal("the system does not tell what Filebeat used")
	}
	if got := countEvents(b, filepath.Join(dir, "out")); got != lines {
		b.Fatalf("Filebeat's output has %d events, want %d", got, lines)
	}
	return lines - first, took, use.Maxrss << 10
}

func countEvents(b *testing.B, dir string) (events int) {
	b.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "events*"))
	if err != nil || len(files) == 0 {
		b.Fatalf("Filebeat has no output: %v", err)
	}
	buf := make([]byte, 1<<20)
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		for {
			n, err := f.Read(buf)
			events += bytes.Count(buf[:n], []byte("\n"))
			if err != nil {
				break
			}
		}
		f.Close()
	}
	return events
}
