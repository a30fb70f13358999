package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"halfopen/beatstats"
	"halfopen/netns"
)

// cronBed is a host whose cron takes snapshots of a shipper.
type cronBed struct {
	t                 *testing.T
	ns                *netns.NS
	shipper, receiver int
	input, dir        string
	stats             *beatstats.Client
}

func newCronBed(t *testing.T) *cronBed {
	t.Helper()
	b := &cronBed{t: t, ns: host(t), input: filepath.Join(t.TempDir(), "input.log"), dir: filepath.Join(t.TempDir(), "evidence")}
	b.write(3)
	b.receiver = party(t, b.ns, "logstash", "lab-receiver")
	b.shipper = party(t, b.ns, "filebeat", "lab-shipper", "HALFOPEN_INPUT="+b.input, "HALFOPEN_RECEIVER="+net.JoinHostPort("127.0.0.1", "5044"))
	var err error
	if b.stats, err = beatstats.NewClient(b.ns, "127.0.0.1:5066", time.Second); err != nil {
		t.Fatal(err)
	}
	b.await("3 events are acked", acked(3))
	return b
}

// write adds lines to the shipper's input.
func (b *cronBed) write(lines int) {
	b.t.Helper()
	f, err := os.OpenFile(b.input, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(bytes.Repeat([]byte("a line of the application's log\n"), lines)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *cronBed) await(what string, is func(beatstats.Sample) bool) {
	b.t.Helper()
	var last beatstats.Sample
	holds := false
	until(60*time.Second, func() bool {
		s, _, err := b.stats.Scrape(context.Background())
		last, holds = s, err == nil && is(s)
		return holds
	})
	if !holds {
		b.t.Fatalf("%s: not so; last %+v", what, last)
	}
}

// hold has work wait for a receiver that does not answer any more.
func (b *cronBed) hold(lines int) {
	b.t.Helper()
	freeze(b.t, b.receiver)
	b.write(lines)
	b.await("events wait", waiting(int64(lines)))
}

func (b *cronBed) signal(pid int, name string) {
	b.t.Helper()
	if out, err := exec.Command("kill", "-"+name, strconv.Itoa(pid)).CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
}

// cron runs the line that cron runs.
func (b *cronBed) cron(more ...string) (code int, stdout, stderr string) {
	b.t.Helper()
	args := []string{"--quiet", "--evidence", b.dir, "--pid", strconv.Itoa(b.shipper), "--pid", strconv.Itoa(b.receiver), "--stall-after", "1s", "--timeout", "1m"}
	return runBinary(b.t, append(append([]string{"snapshot"}, args...), more...)...)
}

func runBinary(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func acked(n int64) func(beatstats.Sample) bool {
	return func(s beatstats.Sample) bool { return s.Acked.OK() && s.Acked.N >= n }
}

func waiting(n int64) func(beatstats.Sample) bool {
	return func(s beatstats.Sample) bool { return s.Pending.OK() && s.Pending.N >= n }
}

// apart lets the time pass that cron lets pass between two snapshots.
func apart(t *testing.T, d time.Duration) {
	t.Helper()
	began := time.Now()
	until(d, func() bool { return time.Since(began) >= d })
}
