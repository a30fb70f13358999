package timeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk is a disk of 64 KiB, half of it taken by a file that the test may
// remove.
func smallDisk(t *testing.T) (dir, ballast string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("halfopen-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("mount a small disk (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast = filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, ballast
}

// The disk fills up in mid-run and has room again later: what was written is
// readable meanwhile, the records wait in memory, and nothing is lost. The clock stands
// still meanwhile: what is compressed every second would make room, or fail, too.
func TestDiskFull(t *testing.T) { synctest.Test(t, diskFull) }

func diskFull(t *testing.T) {
	dir, ballast := smallDisk(t)
	path := filepath.Join(dir, Prefix("full", time.Now())+Suffix)
	var told []string
	w, err := Create(path, Header{Tool: "test"}, func(r Record) {
		if r.Failure != nil {
			told = append(told, r.Failure.Error)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Rotate(Rotation{MaxSize: 16 << 10}) // a segment that can't be begun is no loss either
	const records = 500
	failed := 0
	for range records {
		w.Append(0, marks(1)[0])
		if w.Flush() != nil {
			failed++
		}
	}
	if failed == 0 || w.Err() == nil {
		t.Fatal("a full disk gave no error")
	}
	if rec, err := Load(path); err != nil || len(rec.Damage)+len(rec.Holes) != 0 {
		t.Errorf("while the disk is full: %v, %v", rec, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(End{Reason: EndDone}); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || !strings.Contains(told[0], "no space left on device") {
		t.Errorf("told %q", told)
	}
	rec, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for _, r := range rec.Records {
		if r.Mark != nil && strings.HasPrefix(r.Mark.Text, "mark") {
			kept++
		}
	}
	if kept != records || w.Lost() != 0 || len(rec.Damage)+len(rec.Holes) != 0 || rec.End() == nil {
		t.Errorf("%d of %d kept, %d lost; damage %v, holes %v", kept, records, w.Lost(), rec.Damage, rec.Holes)
	}
}

// A disk that stays full longer than memory holds: a gap tells how much is missing.
// At the end what the disk did not take is still there to be judged.
func TestDiskStaysFull(t *testing.T) {
	dir, ballast := smallDisk(t)
	path := filepath.Join(dir, Prefix("full", time.Now())+Suffix)
	w, err := Create(path, Header{Tool: "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for w.Flush() == nil {
		w.Append(0, marks(1)[0])
	}
	big := Body{Mark: &Mark{Text: strings.Repeat("x", 1<<10)}}
	for w.Lost() < 100 {
		w.Append(0, big)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.Append(0, big)
	lost := w.Lost()
	err = w.Close(End{Reason: EndDone}) // 8 MiB wait for 32 KiB
	if err == nil || !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("error %v", err)
	}
	short, err := Load(path)
	if err != nil || len(short.Damage) != 0 || short.End() != nil {
		t.Fatalf("from the disk alone: %+v, %v", short, err)
	}
	rec, err := LoadWith(path, w.Unwritten())
	if err != nil {
		t.Fatal(err)
	}
	var told int64
	for _, r := range rec.Records {
		if r.Gap != nil {
			told += r.Gap.Lost
		}
	}
	if told != lost || rec.End() == nil || len(rec.Damage) != 0 || len(rec.Records) <= len(short.Records) {
		t.Errorf("%d lost, the gaps tell of %d; damage %v, end %v", lost, told, rec.Damage, rec.End())
	}
}
