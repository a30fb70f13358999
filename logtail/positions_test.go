package logtail_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"halfopen/logtail"
)

// snapshot reads what is new since the last time, as a run from cron does.
func snapshot(t *testing.T, positions, path string) []string {
	t.Helper()
	p, err := logtail.OpenPositions(positions)
	must(t, err)
	got := readOnce(t, logtail.Config{Path: path, Positions: p})
	must(t, p.Save(nil))
	return got
}

func TestPositionsTakeOnlyWhatIsNew(t *testing.T) {
	dir := t.TempDir()
	positions, path := filepath.Join(dir, "positions"), filepath.Join(dir, "app.log")
	write(t, path, "old\n")
	wantLines(t, snapshot(t, positions, path)) // the first run begins now
	wantLines(t, snapshot(t, positions, path))
	write(t, path, "one\ntw")
	wantLines(t, snapshot(t, positions, path), "one", "tw")
	write(t, path, "o\n")
	wantLines(t, snapshot(t, positions, path), "two") // a line is read whole
	wantLines(t, snapshot(t, positions, path))
	write(t, path, "three\n")
	must(t, os.Rename(path, path+".1"))
	write(t, path, "four\n")
	wantLines(t, snapshot(t, positions, path), "three", "four")
	wantLines(t, snapshot(t, positions, path))
}

// A log that came into being between two runs is new in full.
func TestPositionsOfNewLog(t *testing.T) {
	dir := t.TempDir()
	positions, path := filepath.Join(dir, "positions"), filepath.Join(dir, "app.log")
	wantLines(t, snapshot(t, positions, path))
	awaitTick()
	write(t, path, "one\n")
	wantLines(t, snapshot(t, positions, path), "one")
}

func TestPositionsAfterCopyTruncate(t *testing.T) {
	dir := t.TempDir()
	positions, path := filepath.Join(dir, "positions"), filepath.Join(dir, "app.log")
	long := strings.Repeat("x", 100)
	write(t, path, long+"\n")
	wantLines(t, snapshot(t, positions, path))
	write(t, path, "one\n")
	copyTo(t, path, path+".1")
	must(t, os.Truncate(path, 0))
	write(t, path, "two\n")
	got := snapshot(t, positions, path)
	if len(got) != 3 || !strings.HasPrefix(got[0], "gap: truncated after it was copied") || got[1] != "one" || got[2] != "two" {
		t.Errorf("%q", got)
	}
	wantLines(t, snapshot(t, positions, path))
}

// Another file with the same inode number, and a line that ends at the position.
func TestPositionsNoticeAnotherFile(t *testing.T) {
	dir := t.TempDir()
	positions, path := filepath.Join(dir, "positions"), filepath.Join(dir, "app.log")
	write(t, path, "one\n")
	wantLines(t, snapshot(t, positions, path))
	must(t, os.WriteFile(path, []byte("two\nthree\n"), 0o644)) // O_TRUNC: the number stays
	got := snapshot(t, positions, path)
	if len(got) != 3 || !strings.HasPrefix(got[0], "gap: what was read before") || got[1] != "two" {
		t.Errorf("%q", got)
	}
}

func TestPositionsDamaged(t *testing.T) {
	dir := t.TempDir()
	positions, path := filepath.Join(dir, "positions"), filepath.Join(dir, "app.log")
	write(t, path, "old\n")
	for _, text := range []string{"", "{", "null", `{"format":2,"saved":"2026-01-01T00:00:00Z"}`, `{"format":1}`, strings.Repeat("[", 20<<20), `{"format":1,"saved":"2026-01-01T00:00:00Z","logs":{"x":7}}`} {
		must(t, os.WriteFile(positions, []byte(text), 0o600))
		p, err := logtail.OpenPositions(positions)
		if !errors.Is(err, logtail.ErrDamaged) || p == nil || !strings.Contains(err.Error(), positions+".damaged") {
			t.Fatalf("%.40q: %v, %v", text, p, err)
		}
		kept, err := os.ReadFile(positions + ".damaged")
		if err != nil || string(kept) != text {
			t.Errorf("%.40q: kept %.40q, %v", text, kept, err)
		}
		wantLines(t, readOnce(t, logtail.Config{Path: path, Positions: p}))
		must(t, p.Save(nil))
		if p, err = logtail.OpenPositions(positions); err != nil || p == nil {
			t.Errorf("after it: %v", err)
		}
	}
	if _, err := logtail.OpenPositions(dir); err == nil || errors.Is(err, logtail.ErrDamaged) {
		t.Errorf("a directory: %v", err)
	}
}

// What could not be flushed is not marked as read.
func TestPositionsSaveAfterFlush(t *testing.T) {
	dir := t.TempDir()
	positions, path := filepath.Join(dir, "positions"), filepath.Join(dir, "app.log")
	write(t, path, "")
	wantLines(t, snapshot(t, positions, path))
	write(t, path, "one\n")
	p, err := logtail.OpenPositions(positions)
	must(t, err)
	wantLines(t, readOnce(t, logtail.Config{Path: path, Positions: p}), "one")
	full := errors.New("no space left on device")
	if err := p.Save(func() error { return full }); err != full {
		t.Errorf("Save: %v", err)
	}
	wantLines(t, snapshot(t, positions, path), "one")
	must(t, p.Save(nil)) // it still has to be saved
	wantLines(t, snapshot(t, positions, path))
	if left, err := filepath.Glob(positions + ".*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	bad, err := logtail.OpenPositions(filepath.Join(dir, "none", "positions"))
	must(t, err)
	if err := bad.Save(nil); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("Save in no directory: %v", err)
	}
}

// One file of positions serves many followers, and a pattern.
func TestPositionsOfMany(t *testing.T) {
	dir := t.TempDir()
	p, err := logtail.OpenPositions(filepath.Join(dir, "positions"))
	must(t, err)
	var all sync.WaitGroup
	for i := range 20 {
		path := filepath.Join(dir, fmt.Sprintf("%02d.log", i))
		write(t, path, "old\n")
		all.Go(func() { readOnce(t, logtail.Config{Path: path, Positions: p}) })
		all.Go(func() {
			if err := p.Save(nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	must(t, p.Save(nil))
	p, err = logtail.OpenPositions(filepath.Join(dir, "positions"))
	must(t, err)
	for i := range 20 {
		write(t, filepath.Join(dir, fmt.Sprintf("%02d.log", i)), "new\n")
	}
	awaitTick()
	write(t, filepath.Join(dir, "20.log"), "new\n") // joined while nobody looked
	must(t, os.Rename(filepath.Join(dir, "00.log"), filepath.Join(dir, "00.log.1")))
	f := followGlob(t, logtail.Config{Path: filepath.Join(dir, "*.log"), Positions: p, Poll: 5 * time.Millisecond})
	for range 21 {
		f.want("new")
	}
	f.complete()
}

// FuzzOpenPositions: whatever the file holds, it is used or set aside, and a log
// can be followed from what it says.
func FuzzOpenPositions(f *testing.F) {
	f.Add([]byte(`{"format":1,"saved":"2026-01-02T03:04:05Z","logs":{"LOG":{"inode":1,"offset_bytes":4,"mark":{"bytes":4,"crc32c":7},"read":"2026-01-02T03:04:05Z"}}}`))
	f.Add([]byte(`{"format":1,"saved":"2026-01-02T03:04:05Z","logs":{"LOG":{"inode":INODE,"offset_bytes":-4,"mark":{"bytes":-4}}}}`))
	f.Add([]byte(`{"format":1,"saved":"2026-01-02T03:04:05Z","logs":{"LOG":{"inode":INODE,"offset_bytes":9223372036854775807,"mark":{"bytes":9223372036854775807},"cursor":"x"}}}`))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		positions, path := filepath.Join(dir, "positions"), filepath.Join(dir, "app.log")
		write(t, path, "one\ntwo\n")
		filled := strings.NewReplacer("LOG", path, "INODE", fmt.Sprint(inode(t, path))).Replace(string(text))
		must(t, os.WriteFile(positions, []byte(filled), 0o600))
		p, err := logtail.OpenPositions(positions)
		if p == nil || err != nil && !errors.Is(err, logtail.ErrDamaged) {
			t.Fatalf("%v", err)
		}
		readOnce(t, logtail.Config{Path: path, Positions: p})
		must(t, p.Save(nil))
		if again, err := logtail.OpenPositions(positions); again == nil || err != nil {
			t.Errorf("saved again: %v", err)
		}
	})
}
