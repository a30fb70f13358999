package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"halfopen/timeline"
	"halfopen/verdict"
)

// Cron mails when there is output: none while all is well, exactly one line when two
// snapshots in a row prove a stall, and none when it is over.
func TestSnapshotForCron(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	silent := func(when string) {
		t.Helper()
		if code, stdout, stderr := b.cron(); code != 0 || stdout+stderr != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", when, code, stdout, stderr)
		}
	}
	silent("first")
	b.write(5)
	b.await("events arrive", acked(8))
	silent("delivers")
	silent("idle")
	b.hold(7)
	silent("work waits since just now")
	apart(t, 1100*time.Millisecond)
	code, stdout, stderr := b.cron()
	if code != exitStalled || strings.Count(stdout, "\n") != 1 || stderr != "" {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	line := regexp.MustCompile(`^\S+: stalled: connected, 7 events waiting, and no ack for [1-9][0-9.]*s; class .*; 127\.0\.0\.1:\d+ -> 127\.0\.0\.1:5044; evidence: .*halfopen-nat-\d{8}-\d{6}`)
	if !line.MatchString(stdout) {
		t.Errorf("line %q", stdout)
	}

	path, err := timeline.Find(b.dir)
	if err != nil || filepath.Base(path) != "halfopen-nat-timeline.jsonl" {
		t.Fatalf("the series is %q, %v", path, err)
	}
	rec, err := timeline.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	th := verdict.Defaults()
	th.StallAfter = time.Second
	v := verdict.Judge(rec, th)
	if v.Verdict != verdict.Stalled || v.Series == nil || v.Series.Snapshots != 5 || v.Series.Stalled != 2 {
		t.Errorf("verdict %q, series %+v: %s", v.Verdict, v.Series, v.Summary)
	}
	if code, out, _ := runBinary(t, "verify", b.dir); code != 0 || !strings.Contains(out, "5 snapshots") {
		t.Errorf("verify: exit code %d\n%s", code, out)
	}
	merged := filepath.Join(t.TempDir(), "all.jsonl")
	if code, _, stderr := runBinary(t, "merge", b.dir, "-o", merged); code != 0 {
		t.Errorf("merge: %s", stderr)
	}
	code, out, _ := runBinary(t, "verdict", "--stall-after", "1s", merged)
	if code != exitStalled || !strings.Contains(out, "5 snapshots") {
		t.Errorf("verdict of the merged ones: exit code %d\n%s", code, out)
	}

	b.signal(b.receiver, "CONT")
	b.await("events arrive", acked(15))
	silent("it is over")
}

// A shipper that was restarted between two snapshots has not stalled, though its
// counters stand at the same number.
func TestSnapshotOfRestart(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	b.hold(4)
	b.cron()
	b.signal(b.shipper, "KILL")
	gone := false
	until(60*time.Second, func() bool {
		st, err := os.ReadFile("/proc/" + strconv.Itoa(b.shipper) + "/stat")
		gone = err != nil || strings.Contains(string(st), ") Z")
		return gone
	})
	b.shipper = party(t, b.ns, "filebeat", "lab-shipper", "HALFOPEN_INPUT="+b.input, "HALFOPEN_RECEIVER=127.0.0.1:5044")
	b.await("events wait again", waiting(4))
	apart(t, 1100*time.Millisecond)
	if code, stdout, stderr := b.cron(); code != 0 || stdout+stderr != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}

// What a snapshot holds: each source once, the log lines since the one before, and
// the raw material of each.
func TestSnapshotHoldsEverything(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	log := filepath.Join(t.TempDir(), "filebeat.log")
	appendTo(t, log, "the first line\n")
	named := []string{"--log", "filebeat=" + log, "--log", "logstash=/nowhere.log"}
	if code, out, stderr := b.cron(named...); code != 0 || out+stderr != "" {
		t.Fatalf("exit code %d: %s%s", code, out, stderr)
	}
	appendTo(t, log, "the second line\n")
	if code, out, stderr := b.cron(named...); code != 0 || out+stderr != "" {
		t.Fatalf("exit code %d: %s%s", code, out, stderr)
	}
	path, err := timeline.Find(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	parts := timeline.Parts(path)
	if len(parts) != 2 {
		t.Fatalf("snapshots %q", parts)
	}
	prefix := strings.TrimSuffix(parts[1], timeline.Suffix)
	if text, err := os.ReadFile(prefix + "-filebeat-container.log"); err != nil || string(text) != "the second line\n" {
		t.Errorf("the log of the second snapshot is %q, %v", text, err)
	}
	for _, raw := range []string{"-metrics-snapshot-*-filebeat-stats.json", "-metrics-snapshot-*-filebeat-root.json", "-sockets-snapshot-*.log", "-manifest.sha256"} {
		if found, _ := filepath.Glob(prefix + raw); len(found) != 1 {
			t.Errorf("%s: %q", raw, found)
		}
	}
	rec, err := timeline.Load(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if h := rec.Header(); !h.Snapshot || rec.End() == nil {
		t.Errorf("header %+v, end %+v", h, rec.End())
	}
	count := func(is func(timeline.Record) bool) (n int) {
		for _, k := range rec.Records {
			if is(k) {
				n++
			}
		}
		return n
	}
	for what, n := range map[string][2]int{
		"sockets": {1, count(func(k timeline.Record) bool { return k.Sockets != nil })}, // one namespace
		"kernel":  {1, count(func(k timeline.Record) bool { return k.Kernel != nil })},
		"stats":   {2, count(func(k timeline.Record) bool { return k.Stats != nil })},
		"parties": {2, count(func(k timeline.Record) bool { return k.Party != nil })},
	} {
		if n[0] != n[1] {
			t.Errorf("%d records of %s, want %d", n[1], what, n[0])
		}
	}
	if !slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
		return k.Owner != nil && k.Owner.Process != nil && k.Owner.Process.PID == b.shipper
	}) {
		t.Error("nobody says whose the sockets are")
	}
	if took := rec.Records[len(rec.Records)-1].Mono - rec.Records[0].Mono; took > time.Minute {
		t.Errorf("it took %s", took)
	}
}

// --keep leaves the newest two and whatever is no snapshot of the series.
func TestSnapshotKeep(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	if code, _, stderr := runBinary(t, "record", "--quiet", "--for", "1s", "--evidence", b.dir, "--pid", strconv.Itoa(b.shipper)); code != exitOK && code != exitInconclusive {
		t.Fatalf("record: exit code %d: %s", code, stderr)
	}
	before, err := os.ReadDir(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if code, stdout, stderr := b.cron("--keep", "1K/14d"); code != 0 || stdout+stderr != "" {
			t.Fatalf("exit code %d: %q %q", code, stdout, stderr)
		}
	}
	path, err := timeline.Find(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	parts := timeline.Parts(path)
	if len(parts) != 2 {
		t.Errorf("snapshots %q", parts)
	}
	after, err := filepath.Glob(filepath.Join(b.dir, "halfopen-nat-2*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range before {
		if !slices.Contains(after, filepath.Join(b.dir, f.Name())) {
			t.Errorf("%s is gone", f.Name())
		}
	}
	code, out, _ := runBinary(t, "verify", b.dir)
	if code != 0 || !strings.Contains(out, "\nthe recorder removed ") || strings.Contains(out, "begins with record") {
		t.Errorf("verify: %s", out)
	}
	for _, f := range after {
		known := slices.ContainsFunc(append(parts, filepath.Join(b.dir, before[0].Name())), func(p string) bool {
			stem, _, _ := strings.Cut(strings.TrimSuffix(p, timeline.Suffix), "-manifest")
			return strings.HasPrefix(f, strings.TrimSuffix(stem, timeline.Suffix))
		})
		if !known && !slices.ContainsFunc(before, func(e os.DirEntry) bool { return filepath.Join(b.dir, e.Name()) == f }) {
			t.Errorf("%s was left behind", f)
		}
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
