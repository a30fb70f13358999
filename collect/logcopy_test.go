package collect

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/logtail"
	"halfopen/timeline"
)

// A disk that is full takes no lines, but what they mean is recorded, and when
// there is room again the copy goes on.
func TestLogsDiskFull(t *testing.T) {
	disk := t.TempDir()
	if err := unix.Mount("halfopen-test", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("mount a small disk (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	log := filepath.Join(t.TempDir(), "filebeat.log")
	l := follow(t, &Logs{Name: "filebeat", Path: log, From: logtail.FromBeginning}, func(_ *Recorder, path string) {
		if err := os.Symlink(filepath.Join(disk, "copy"), path); err != nil {
			t.Fatal(err)
		}
	})
	appendTo(t, log, "one\n")
	l.await("the first line", func() bool { return l.copied() == "one\n" })
	ballast := filepath.Join(disk, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 56<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 99) + "\n"
	appendTo(t, log, strings.Repeat(line, 1000))
	l.await("the disk to be full", func() bool { return len(l.failures()) == 1 })
	appendTo(t, log, telling+"\n")
	l.await("what the line means", func() bool { return len(l.events()) == 1 })
	if e := l.events()[0]; e.File != "" || e.Source != log || e.SourceOffset != 4+100*1000 {
		t.Errorf("event %+v", e)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, telling+"\n")
	l.await("the copy to go on", func() bool { return strings.HasSuffix(l.copied(), "\n"+telling+"\n") })
	l.end()
	got := l.copied()
	var lost, lines int64
	for _, g := range l.gaps() {
		lost, lines = lost+g.Lost, lines+g.Lines
		if !strings.Contains(g.Why, syscall.ENOSPC.Error()) {
			t.Errorf("gap %+v", g)
		}
	}
	kept := int64(strings.Count(got, "\n"))
	if all, _ := os.ReadFile(log); kept+lines != int64(bytes.Count(all, []byte("\n"))) || int64(len(got))+lost != int64(len(all)) || lines == 0 {
		t.Errorf("%d lines kept, %d lost; %d bytes kept, %d lost of %d", kept, lines, len(got), lost, len(all))
	}
	if f := l.failures(); len(f) != 1 || !strings.Contains(f[0].Error, syscall.ENOSPC.Error()) {
		t.Errorf("failures %+v", f)
	}
	var indexed int64
	for _, x := range l.index() {
		indexed += x.Bytes
	}
	e := l.events()[1]
	if indexed != int64(len(got)) || e.File == "" || got[e.Offset:] != telling+"\n" {
		t.Errorf("%d bytes indexed of %d; event %+v", indexed, len(got), e)
	}
}

// hanging makes the disk of a copy one that takes 64 KiB, and is waited for no longer than
// outside of tests.
func hanging(t *testing.T, disk **os.File) func(*Recorder, string) {
	return func(rec *Recorder, path string) {
		rec.patience = diskPatience
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if *disk, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that hangs holds up neither the reading nor the end, and does not make
// the recorder grow: what it does not take is a gap.
func TestLogsDiskHangs(t *testing.T) {
	log := filepath.Join(t.TempDir(), "filebeat.log")
	var disk *os.File
	l := follow(t, &Logs{Name: "filebeat", Path: log, From: logtail.FromBeginning}, hanging(t, &disk))
	line := strings.Repeat("x", 99) + "\n"
	const lines = 8 * maxWaiting / 100
	appendTo(t, log, strings.Repeat(line, lines)+telling+"\n")
	l.await("what the last line means", func() bool { return len(l.events()) == 1 })
	if e := l.events()[0]; e.File != "" || e.SourceOffset != lines*100 {
		t.Errorf("event %+v", e)
	}
	// The disk takes bytes again.
	read := make(chan string, 1)
	go func() { text, _ := bufio.NewReader(disk).ReadString(0); read <- text }()
	l.await("the gap", func() bool { return len(l.gaps()) == 1 })
	appendTo(t, log, telling+"\n")
	l.await("the copy to go on", func() bool { return len(l.events()) == 2 })
	l.end()
	if _, err := disk.Write([]byte{0}); err != nil { // the end of all
		t.Fatal(err)
	}
	copied := <-read
	disk.Close()
	g := l.gaps()[0]
	kept := int64(strings.Count(copied, "\n"))
	if kept+g.Lines != lines+2 || g.Lines == 0 || kept*100 > 3*maxWaiting || !strings.Contains(g.Why, "disk") {
		t.Errorf("%d lines kept of %d; gap %+v", kept, lines+2, g)
	}
	if e := l.events()[1]; e.File == "" || e.Offset != int64(strings.LastIndex(copied, telling)) {
		t.Errorf("event %+v", e)
	}
}

// A disk that hangs until the end is left alone.
func TestLogsDiskHangsForGood(t *testing.T) {
	log := filepath.Join(t.TempDir(), "filebeat.log")
	var disk *os.File
	l := follow(t, &Logs{Name: "filebeat", Path: log, From: logtail.FromBeginning}, hanging(t, &disk))
	appendTo(t, log, strings.Repeat(telling+"\n", 10_000))
	l.await("what the first lines mean", func() bool { return len(l.events()) > 0 })
	appendTo(t, log, telling+"\n")
	began := time.Now()
	l.end()
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the end took %s", took)
	}
	f := l.failures()
	if len(f) == 0 || slices.ContainsFunc(f, func(f *timeline.Failure) bool { return !strings.Contains(f.Error, errDiskHangs.Error()) }) {
		t.Errorf("failures %+v", f)
	}
	if n := len(l.events()); n > maxEvents*10 {
		t.Errorf("%d events", n)
	}
	if _, err := disk.Read(make([]byte, 4<<20)); err != nil { // the writer goes on, and ends
		t.Fatal(err)
	}
	disk.Close()
}

// Lines that the disk did not take by the end don't count as read: the next
// recording has them.
func TestLogsResumeAfterDiskHung(t *testing.T) {
	dir := t.TempDir()
	log, file := filepath.Join(dir, "filebeat.log"), filepath.Join(dir, "positions.json")
	set := func() *LogSet {
		p, err := logtail.OpenPositions(file)
		if err != nil {
			t.Fatal(err)
		}
		return &LogSet{Positions: p}
	}
	appendTo(t, log, "one\n")
	first := follow(t, &Logs{Name: "filebeat", Path: log, From: logtail.FromBeginning, Set: set()}, nil)
	first.await("the line", func() bool { return first.copied() == "one\n" })
	first.end()

	var disk *os.File
	appendTo(t, log, telling+"\n")
	hung := follow(t, &Logs{Name: "filebeat", Path: log, Set: set()}, func(rec *Recorder, path string) {
		hanging(t, &disk)(rec, path)
		if _, err := disk.Write(make([]byte, 64<<10)); err != nil { // it takes no more
			t.Fatal(err)
		}
	})
	hung.await("what the line means", func() bool { return len(hung.events()) == 1 })
	hung.end()
	if _, err := disk.Read(make([]byte, 128<<10)); err != nil { // the writer ends
		t.Fatal(err)
	}
	disk.Close()

	again := follow(t, &Logs{Name: "filebeat", Path: log, Set: set()}, nil)
	again.await("the line that was not copied", func() bool { return again.copied() == telling+"\n" })
	again.end()
	if !slices.ContainsFunc(hung.failures(), func(f *timeline.Failure) bool { return f.Source == "positions of the logs" }) {
		t.Errorf("failures %+v", hung.failures())
	}
}
