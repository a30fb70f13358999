package timeline

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The disk fills up in mid-run and has room again later: what was written stays
// readable, recording goes on, and a gap tells how much is missing.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("halfopen-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("mount a small disk (needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, Prefix("full", time.Now())+Suffix)
	w, err := Create(path, Header{Tool: "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 32<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	appended := 1
	for w.Flush() == nil {
		for range 10 {
			w.Append(0, marks(1)[0])
			appended++
		}
	}
	for range 10 { // lost for certain: there is no room
		w.Append(0, marks(1)[0])
		appended++
	}
	if w.Flush() == nil || w.Err() == nil {
		t.Fatal("a full disk gave no error")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	w.Append(0, marks(1)[0])
	appended++
	if err := w.Close(End{Reason: "done"}); err != nil {
		t.Fatal(err)
	}
	rec, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var lost int64
	for _, r := range rec.Records {
		if r.Gap != nil {
			lost += r.Gap.Lost
		}
	}
	kept := len(rec.Records) - 2 // less the gap and the end
	if len(rec.Damage) != 0 || rec.End() == nil || lost == 0 || kept+int(lost) != appended {
		t.Errorf("%d kept and %d lost of %d appended; damage %v, end %v", kept, lost, appended, rec.Damage, rec.End())
	}
}
