package logtail_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/logtail"
)

var victim = flag.Bool("logtail.victim", false, "follow until killed; set by the test that kills")

const journald = "/lib/systemd/systemd-journald"

// A real journald, in namespaces of its own: its /run is another one.
func TestJournal(t *testing.T) {
	if _, err := os.Stat(journald); errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("%v: install systemd (it need not run)", err)
	}
	rerun(t, "TestJournalInside", "-logtail.limited")
}

// TestJournalInside is the part of TestJournal that runs in the namespaces;
// elsewhere it sees that a unit that never was has no lines, and hears of it.
func TestJournalInside(t *testing.T) {
	if !*limited {
		f := followJournal(t, logtail.Config{Path: "halfopen-never-was.service", From: logtail.FromBeginning})
		f.note("journal:halfopen-never-was.service: the journal has no entry of a unit of that name")
		f.complete()
		return
	}
	must(t, unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	must(t, unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	must(t, unix.Mount("proc", "/proc", "proc", 0, ""))
	for _, dir := range []string{"/run/systemd/journald.conf.d", "/run/log/journal"} {
		must(t, os.MkdirAll(dir, 0o755))
	}
	must(t, os.WriteFile("/run/systemd/journald.conf.d/test.conf", []byte("[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitBurst=0\n"), 0o644))
	daemon := exec.Command(journald)
	must(t, daemon.Start())
	defer func() { _ = daemon.Process.Kill(); _ = daemon.Wait() }()
	j := dialJournal(t)
	defer j.Close()

	// A run that sees no entry leaves a place, too.
	quiet, err := logtail.OpenPositions(filepath.Join(t.TempDir(), "positions"))
	must(t, err)
	wantLines(t, journalOnce(t, logtail.Config{Path: "z.service", Positions: quiet}))
	logEntry(t, j, "z.service", "after a quiet run")
	until(t, "the entry", func() bool {
		return len(journalOnce(t, logtail.Config{Path: "z.service", From: logtail.LastLines(9)})) == 1
	})
	wantLines(t, journalOnce(t, logtail.Config{Path: "z.service", Positions: quiet}), "after a quiet run")
	wantLines(t, journalOnce(t, logtail.Config{Path: "z.service", Positions: quiet}))

	logEntry(t, j, "x.service", "before")
	pos, err := logtail.OpenPositions(filepath.Join(t.TempDir(), "positions"))
	must(t, err)
	f := followJournal(t, logtail.Config{Path: "x.service", Positions: pos, From: logtail.LastLines(10), Poll: 10 * time.Millisecond})
	f.journal("before")
	logEntry(t, j, "y.service", "of another unit")
	logEntry(t, j, "x.service", "bin\xff\x00ary")
	logEntry(t, j, "x.service", strings.Repeat("long ", 4000))
	f.journal("bin\xff\x00ary")
	f.journal(strings.Repeat("long ", 4000))
	// The child is killed: another goes on where it was.
	kill(t, "journalctl")
	logEntry(t, j, "x.service", "while none ran")
	f.note("journalctl ended: signal: killed")
	f.journal("while none ran")
	logEntry(t, j, "x.service", "last")
	f.journal("last")
	f.complete()

	// A later run goes on behind what was read, and one from now on there.
	logEntry(t, j, "x.service", "between the runs")
	f = followJournal(t, logtail.Config{Path: "x.service", Positions: pos})
	f.journal("between the runs")
	f.complete()
	f = followJournal(t, logtail.Config{Path: "x.service", From: logtail.Position{Cursor: "no cursor"}, Poll: 10 * time.Millisecond})
	if gap := f.gap(); !strings.Contains(gap.Why, `"no cursor"`) || gap.Bytes != -1 {
		t.Errorf("gap %+v", gap)
	}
	logEntry(t, j, "x.service", "after it")
	f.journal("after it")
	f.stop()
	f = followJournal(t, logtail.Config{Path: "x"})
	until(t, "journalctl", func() bool { return len(processes(t, "journalctl")) > 0 })
	logEntry(t, j, "x.service", "now")
	f.journal("now")
	f.complete()
	if left := processes(t, "journalctl"); len(left) > 0 {
		t.Errorf("children are left: %v", left)
	}
}

func followJournal(t *testing.T, cfg logtail.Config) *following {
	t.Helper()
	return followWith(t, logtail.FollowJournal, cfg)
}

// journal waits for an entry with exactly this message.
func (f *following) journal(want string) {
	f.t.Helper()
	l := f.line()
	m, ok := (&logtail.Decoder{}).Decode(l, time.Now())
	if !ok || m.Message != want || m.Format != logtail.Journal || m.Level != "err" || l.File != "journal:x.service" && l.File != "journal:x" {
		f.t.Fatalf("entry %q of %s: message %.80q, want %.80q; notes %q", l.Bytes[:min(300, len(l.Bytes))], l.File, m.Message, want, f.notes)
	}
	if d := time.Since(m.Time).Abs(); d > time.Minute {
		f.t.Errorf("time is off by %v", d)
	}
}

// journalOnce gives the messages that a follower reads which ends at once.
func journalOnce(t *testing.T, cfg logtail.Config) (messages []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, logtail.FollowJournal(ctx, cfg, logtail.Handler{Line: func(l logtail.Line) error {
		m, _ := (&logtail.Decoder{}).Decode(l, time.Now())
		messages = append(messages, m.Message)
		return nil
	}}))
	return messages
}

func dialJournal(t *testing.T) *net.UnixConn {
	t.Helper()
	var c *net.UnixConn
	until(t, "journald", func() (ok bool) {
		var err error
		c, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Name: "/run/systemd/journal/socket", Net: "unixgram"})
		return err == nil
	})
	return c
}

// logEntry logs by journald's own protocol. OBJECT_SYSTEMD_UNIT is what root may
// say of another's unit (systemd.journal-fields(7)).
func logEntry(t *testing.T, j *net.UnixConn, unit, message string) {
	t.Helper()
	text := fmt.Appendf(nil, "PRIORITY=3\nOBJECT_SYSTEMD_UNIT=%s\nMESSAGE\n", unit)
	text = binary.LittleEndian.AppendUint64(text, uint64(len(message)))
	text = append(append(text, message...), '\n')
	if _, err := j.Write(text); err != nil {
		t.Fatal(err)
	}
}

// kill ends the processes of this pid namespace with this name.
func kill(t *testing.T, name string) {
	t.Helper()
	for _, pid := range processes(t, name) {
		must(t, unix.Kill(pid, unix.SIGKILL))
	}
}

func processes(t *testing.T, name string) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	must(t, err)
	for _, path := range names {
		comm, _ := os.ReadFile(path)
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/comm", &pid); err == nil && strings.TrimSpace(string(comm)) == name {
			pids = append(pids, pid)
		}
	}
	return pids
}

// The child does not outlive a follower that is killed.
func TestJournalChildDies(t *testing.T) {
	if *victim {
		h := logtail.Handler{Line: func(logtail.Line) error { return nil }}
		must(t, logtail.FollowJournal(t.Context(), logtail.Config{Path: "halfopen-never-was.service"}, h))
		return
	}
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self, "-test.run", "^TestJournalChildDies$", "-logtail.victim")
	must(t, cmd.Start())
	of := func() int { return childOf(t, cmd.Process.Pid) }
	child := 0
	until(t, "a child of the victim", func() bool { child = of(); return child != 0 })
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	until(t, "the child's end", func() bool { return errors.Is(unix.Kill(child, 0), unix.ESRCH) })
}

// childOf gives a journalctl started by a process, 0 if there is none.
func childOf(t *testing.T, parent int) int {
	for _, pid := range processes(t, "journalctl") {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", parent)) {
			return pid
		}
	}
	return 0
}

// until waits for a condition that nothing announces.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func TestJournalRefuses(t *testing.T) {
	h := logtail.Handler{Line: func(logtail.Line) error { return nil }}
	t.Setenv("PATH", t.TempDir())
	err := logtail.FollowJournal(t.Context(), logtail.Config{Path: "x.service"}, h)
	if err == nil || !strings.Contains(err.Error(), `no journalctl on this host`) || !strings.Contains(err.Error(), `"x.service"`) {
		t.Errorf("%v", err)
	}
	if err := logtail.FollowJournal(t.Context(), logtail.Config{Path: "--root=/"}, h); err == nil || !strings.Contains(err.Error(), "no name of a unit") {
		t.Errorf("%v", err)
	}
}
