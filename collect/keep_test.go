package collect

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/clock"
	"halfopen/logtail"
	"halfopen/timeline"
)

// A long recording keeps no more than it is told, and says what it removed; what
// others have put there stays, and so does what is still written.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	rec := open(t, dir)
	foreign := rec.Path("sockets-before-000000.000-mine.log")
	if err := os.WriteFile(foreign, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	const most = 64 << 10
	rec.Limit(Limits{MaxSize: 32 << 10, Keep: timeline.Keep{Size: most}})
	long := strings.Repeat("x", 500)
	for i := range 300 {
		rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: long}})
		rec.keepRaw("raw-"+time.Duration(i).String()+".log", "test", make([]byte, 2<<10))
		if err := rec.tl.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := rec.Close(timeline.End{Reason: timeline.EndDone}); err != nil {
		t.Fatal(err)
	}
	if err := rec.Seal(); err != nil {
		t.Fatal(err)
	}
	files, err := timeline.Files(rec.Prefix())
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, f := range files {
		st, err := os.Stat(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(f, "raw-") || strings.HasSuffix(f, ".zst") {
			size += st.Size()
		}
	}
	if size == 0 || size > most {
		t.Errorf("%d bytes are kept of at most %d: %v", size, most, files)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Errorf("a file of somebody else's: %v", err)
	}
	c, err := timeline.Verify(rec.Prefix() + timeline.Suffix)
	if err != nil || !c.Whole() || c.Removed == 0 || c.Segments < 2 {
		t.Errorf("check %+v, %v", c, err)
	}
}

// What is too old goes, however small it is.
func TestKeepByAge(t *testing.T) {
	rec := open(t, t.TempDir())
	defer rec.Close(timeline.End{Reason: timeline.EndDone})
	rec.Limit(Limits{Keep: timeline.Keep{For: time.Hour}})
	rec.keepRaw("raw-old.log", "test", []byte("old"))
	rec.kept.files[0].at = clock.Mono() - 2*time.Hour
	rec.keepRaw("raw-new.log", "test", []byte("new"))
	if _, err := os.Stat(rec.Path("raw-old.log")); !os.IsNotExist(err) {
		t.Errorf("the old file: %v", err)
	}
	if _, err := os.Stat(rec.Path("raw-new.log")); err != nil {
		t.Error(err)
	}
}

// A full disk costs evidence files, not the recording, which says so at its end.
func TestSaveOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("halfopen-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("mount a small disk (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	rec := open(t, dir)
	script, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	kept := make(chan error)
	go func() {
		logs := &Logs{Name: "script", Path: "script:", Copy: "output", Follow: func(ctx context.Context, cfg logtail.Config, h logtail.Handler) error {
			return logtail.FollowStream(ctx, script, cfg, h)
		}}
		kept <- logs.Run(t.Context(), rec)
	}()
	big := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 1300))
	if rec.Save("drop-window.txt", "drop window", big) {
		t.Error("128 KiB are said to be saved on a disk of 64")
	}
	for range 2 {
		if n, err := out.Write(big); n != len(big) || err != nil {
			t.Errorf("the command feels the full disk: %d, %v", n, err)
		}
	}
	out.Close()
	if err := <-kept; err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(rec.Path("script-output.log"), 0); err != nil {
		t.Fatal(err)
	}
	if !rec.Save("verdict.txt", "verdict", []byte("small")) {
		t.Error("there is room again, but nothing is saved")
	}
	if err := rec.Close(timeline.End{Reason: timeline.EndDone}); err != nil {
		t.Fatal(err)
	}
	err = rec.Incomplete()
	if err == nil || !strings.Contains(err.Error(), "2 times evidence could not be written") || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("incomplete: %v", err)
	}
	got, err := timeline.Load(rec.Prefix() + timeline.Suffix)
	if err != nil {
		t.Fatal(err)
	}
	var failed []string
	for _, r := range got.Records {
		if r.Failure != nil {
			failed = append(failed, r.Failure.Source)
		}
	}
	if len(failed) < 2 || !strings.HasPrefix(failed[0], "evidence file ") {
		t.Errorf("failures of %q", failed)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if timeline.IsPartial(e.Name()) {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}

// What a killed recorder left half written goes with the next one, unless it may
// still be written.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	old, fresh, foreign := "x-20260102-030405-timeline.jsonl.zst.part", "x-20260102-030406-verdict.txt.part", "holiday.part"
	for _, name := range []string{old, fresh, foreign} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-time.Hour)
	for _, name := range []string{old, foreign} {
		if err := os.Chtimes(filepath.Join(dir, name), past, past); err != nil {
			t.Fatal(err)
		}
	}
	rec := open(t, dir)
	defer rec.Close(timeline.End{Reason: timeline.EndDone})
	for name, want := range map[string]bool{old: false, fresh: true, foreign: true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A folder that is taken away from under a recording is told of while it goes on.
func TestFolderGone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "evidence")
	told := make(chan string, 1)
	rec, err := Open(dir, timeline.Header{Tool: "test", Experiment: "test"}, func(r timeline.Record) {
		if r.Failure != nil && r.Failure.Source == "evidence folder" {
			told <- r.Failure.Error
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	err = rec.Run(t.Context(), func(context.Context) error {
		if err := os.Rename(dir, dir+"-away"); err != nil {
			return err
		}
		select {
		case <-told:
			return nil
		case <-time.After(time.Minute):
			return errors.New("nobody said that the folder is gone")
		}
	})
	if err != nil {
		t.Error(err)
	}
	_ = rec.Close(timeline.End{Reason: timeline.EndDone})
	if rec.Incomplete() == nil {
		t.Error("the recording is said to be whole")
	}
}
