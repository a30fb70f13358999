package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/netns"
	"halfopen/timeline"
)

// A second snapshot says that one is under way and leaves; under cron only one that
// lasts is worth a mail. A lock without its process is none.
func TestSnapshotLock(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	unlock, err := lockSeries(b.dir, "halfopen-nat")
	if err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := b.cron(); code != 0 || stdout+stderr != "" {
		t.Errorf("under cron: exit code %d, %q, %q", code, stdout, stderr)
	}
	code, stdout, stderr := runBinary(t, "snapshot", "--evidence", b.dir, "--pid", strconv.Itoa(b.shipper))
	if want := "another snapshot is under way in"; code != exitError || stdout != "" || !strings.Contains(stderr, want) || !strings.Contains(stderr, strconv.Itoa(os.Getpid())) {
		t.Errorf("by hand: exit code %d, %q, %q", code, stdout, stderr)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(b.dir, "halfopen-nat-snapshot.lock"), long, long); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := b.cron(); code != exitError || stdout != "" || !strings.Contains(stderr, "for 1h0m") {
		t.Errorf("one that lasts: exit code %d, %q, %q", code, stdout, stderr)
	}
	if all, err := timeline.All(b.dir); err == nil {
		t.Errorf("recordings %q", all)
	}
	unlock()
	if code, stdout, stderr := b.cron(); code != 0 || stdout+stderr != "" {
		t.Errorf("after it: exit code %d, %q, %q", code, stdout, stderr)
	}
}

// hang opens an endpoint that takes connections and never answers.
func (b *cronBed) hang(port int) {
	b.t.Helper()
	if err := b.ns.Do(func() error { return listen(b.t, port, 16) }); err != nil {
		b.t.Fatal(err)
	}
}

// An endpoint that takes connections and never answers costs its own reading alone,
// within --timeout.
func TestSnapshotOfHungEndpoint(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	b.hang(7777)
	code, stdout, stderr := b.cron("--stats", "127.0.0.1:7777", "--stats", "127.0.0.1:9600", "--timeout", "1m")
	if code != 0 || stdout+stderr != "" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	rec := b.last()
	if !slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
		return k.Failure != nil && k.Failure.Source == "stats of filebeat" && strings.Contains(k.Failure.Error, "no answer within")
	}) {
		t.Error("no record says that the endpoint did not answer")
	}
	if !slices.ContainsFunc(rec.Records, func(k timeline.Record) bool { return k.Sockets != nil && len(k.Sockets.Sockets) > 0 }) ||
		!slices.ContainsFunc(rec.Records, func(k timeline.Record) bool { return k.Stats != nil && k.Stats.Name == "logstash" }) {
		t.Error("the other readings are not there")
	}
	if took := rec.Records[len(rec.Records)-1].Mono - rec.Records[0].Mono; took > time.Minute {
		t.Errorf("it took %s, longer than --timeout", took)
	}
}

// What is not read within --timeout is said to be missing, and the rest is kept.
func TestSnapshotTimeout(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	b.hang(7777)
	var code int
	var stdout, stderr string
	var rec *timeline.Recording
	var named []string
	// Half of it is for the search and the readings, of which the endpoint alone is given
	// as much. On a busy machine the search may take all of that: then once more.
	for range 10 {
		code, stdout, stderr = b.cron("--stats", "127.0.0.1:7777", "--timeout", "2s")
		rec, named = b.last(), nil
		for _, k := range rec.Records {
			if k.Failure != nil {
				named = append(named, k.Failure.Source)
			}
		}
		if slices.Contains(named, "stats of filebeat") {
			break
		}
	}
	if code != exitError || stdout != "" || !strings.Contains(stderr, "the time was up before everything was read") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if e := rec.End(); e == nil || e.Reason != timeline.EndError || !slices.ContainsFunc(rec.Records, func(k timeline.Record) bool { return k.Sockets != nil }) {
		t.Errorf("end %+v", e)
	}
	if !slices.Contains(named, "stats of filebeat") || slices.ContainsFunc(named, func(s string) bool { return strings.HasPrefix(s, "process of ") }) {
		t.Errorf("not read in time: %q", named)
	}
}

// What hangs for good, here a file that is never opened, is not waited for.
func TestSnapshotHangs(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(b.dir, "halfopen-nat-snapshot-positions.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := b.cron("--timeout", "10s") // the search has its time before
	if code != exitError || stdout != "" || !strings.Contains(stderr, "it was not done within --timeout 10s") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}

// last is the newest snapshot.
func (b *cronBed) last() *timeline.Recording {
	b.t.Helper()
	path, err := timeline.Find(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	parts := timeline.Parts(path)
	rec, err := timeline.Load(parts[len(parts)-1])
	if err != nil {
		b.t.Fatal(err)
	}
	return rec
}

// On a full disk a stall is told all the same, from memory, and what is on the disk
// can be read.
func TestSnapshotOnFullDisk(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("halfopen-test", b.dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatalf("mount a small disk (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(b.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	b.hold(6)
	if code, stdout, stderr := b.cron(); code != 0 || stdout+stderr != "" {
		t.Fatalf("with room: exit code %d, %q, %q", code, stdout, stderr)
	}
	fill(t, filepath.Join(b.dir, "ballast"), 8<<10)
	apart(t, 1100*time.Millisecond)
	code, stdout, stderr := b.cron()
	if code != exitStalled || strings.Count(stdout, "\n") != 1 || !strings.Contains(stderr, "no space left on device") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, out, stderr := runBinary(t, "verdict", b.dir); code == exitError {
		t.Errorf("verdict: %s%s", out, stderr)
	}
	fill(t, filepath.Join(b.dir, "ballast"), 0)
	if code, _, stderr := b.cron(); code != exitError || !strings.Contains(stderr, "no space left on device") {
		t.Errorf("without a byte of room: exit code %d, %q", code, stderr)
	}
	if err := os.Remove(filepath.Join(b.dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := b.cron(); code != exitStalled || stderr != "" {
		t.Errorf("with room again: exit code %d, %q, %q", code, stdout, stderr)
	}
}

// fill leaves that many bytes of a disk, about.
func fill(t *testing.T, path string, leave uint64) {
	t.Helper()
	_ = os.Remove(path)
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		t.Fatal(err)
	}
	free := st.Bavail * uint64(st.Bsize)
	if err := os.WriteFile(path, make([]byte, free-min(free, leave)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// kill -9 at any moment leaves nothing that the next snapshot, the judge or verify
// stumble over.
func TestSnapshotKilled(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	for range 12 {
		cmd := exec.Command(binary, "snapshot", "--quiet", "--evidence", b.dir, "--pid", strconv.Itoa(b.shipper))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		letRun(time.Duration(rand.IntN(int(300 * time.Millisecond)))) // the moment is what is random
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	for range 2 {
		if code, stdout, stderr := b.cron("--keep", "14d/200M"); code != 0 || stdout+stderr != "" {
			t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
		}
	}
	if code, out, stderr := runBinary(t, "verdict", b.dir); code == exitError || code == exitStalled {
		t.Errorf("verdict: exit code %d\n%s%s", code, out, stderr)
	}
	path, err := timeline.Find(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := timeline.Verify(path)
	if err != nil || c.Snapshots < 2 {
		t.Errorf("%d snapshots, %v", c.Snapshots, err)
	}
	for _, p := range c.Parts { // those that were killed
		if len(p.Holes)+len(p.Gaps)+len(p.Disorder)+len(p.FilesBad) != 0 || len(p.Damage) > 1 {
			t.Errorf("%s", describe(p))
		}
	}
	// What is there can be removed, of the killed ones too.
	for range 2 {
		b.cron("--keep", "1K")
	}
	if parts := timeline.Parts(path); len(parts) != 2 {
		t.Errorf("left: %q", parts)
	}
}

// An ordinary user's cron: his own namespace, whoever holds its sockets.
func TestSnapshotForCronOfOrdinaryUser(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	dir := openDir(t)
	var out bytes.Buffer
	cmd := exec.Command(binary, "snapshot", "--quiet", "--timeout", "1m", "--evidence", filepath.Join(dir, "evidence"))
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, []string{}, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if err := b.ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 || out.Len() > 0 {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	b.dir = filepath.Join(dir, "evidence")
	if !slices.ContainsFunc(b.last().Records, func(k timeline.Record) bool {
		return k.Sockets != nil && k.Sockets.Via == "diag" && len(k.Sockets.Sockets) >= 3
	}) {
		t.Error("no reading of the sockets")
	}
}

// A namespace that may not be entered is read through its process.
func TestSnapshotFromOutside(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	dir := openDir(t)
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, "snapshot", "--over", "0s", "--timeout", "1m", "--evidence", filepath.Join(dir, "evidence"), "--pid", strconv.Itoa(b.shipper))
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	err := cmd.Run()
	if err != nil || !strings.Contains(out.String(), "ESTABLISHED                 1") || !strings.Contains(errs.String(), "its tables are read from outside") {
		t.Errorf("%v\n%s%s", err, out.String(), errs.String())
	}
	b.dir = filepath.Join(dir, "evidence")
	if !slices.ContainsFunc(b.last().Records, func(k timeline.Record) bool {
		return k.Sockets != nil && k.Sockets.Via == "procfs" && len(k.Sockets.Sockets) >= 3
	}) {
		t.Error("no reading of the sockets")
	}
}

// A namespace with many sockets, and a host with no time: the snapshot is whole all
// the same. Of more sockets on the watched ports than a record takes it says so.
func TestSnapshotOfCrowd(t *testing.T) {
	t.Parallel()
	b := newCronBed(t)
	crowd(t, b.ns, 8080, 5200)
	ctx, rest := context.WithCancel(context.Background())
	defer rest()
	for range 8 {
		go func() {
			for ctx.Err() == nil {
			}
		}()
	}
	if code, stdout, stderr := b.cron("--timeout", "5m"); code != 0 || stdout+stderr != "" {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
	if rec := b.last(); rec.End() == nil || len(rec.Damage)+len(rec.Holes) != 0 {
		t.Errorf("end %+v", rec.End())
	}
	rest()
	if code, stdout, stderr := b.cron("--port", "8080", "--port", "5044", "--timeout", "5m"); code != 0 || stdout+stderr != "" {
		t.Errorf("crowd on a watched port: exit code %d, %q, %q", code, stdout, stderr)
	}
	rec := b.last()
	most := 0
	for _, k := range rec.Records {
		if k.Sockets != nil {
			most = len(k.Sockets.Sockets)
		}
		if k.Gap != nil {
			t.Errorf("gap %+v", k.Gap)
		}
	}
	if most != 10_000 || !slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
		return k.Failure != nil && strings.Contains(k.Failure.Error, "the first 10000")
	}) {
		t.Errorf("%d sockets recorded, or it is not said that some are missing", most)
	}
}

// crowd opens connections within a namespace, each of two sockets.
func crowd(t *testing.T, ns *netns.NS, port, connections int) {
	t.Helper()
	var mu sync.Mutex
	var conns []net.Conn
	keep := func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
	}
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			c.Close()
		}
	})
	err := ns.Do(func() error {
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				keep(c)
			}
		}()
		for range connections {
			c, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				return err
			}
			keep(c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
