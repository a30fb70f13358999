package timeline

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/flow"
)

// snapshot writes one as its recorder would have: of a boot, at a second of the day,
// with a mark of its own.
func snapshot(t *testing.T, dir, experiment, boot string, second, mono int) (path string) {
	t.Helper()
	return snapshotOf(t, "vm", dir, experiment, boot, second, mono)
}

func snapshotOf(t *testing.T, host, dir, experiment, boot string, second, mono int) (path string) {
	t.Helper()
	began := time.Date(2026, 1, 2, 0, 0, second, 0, time.UTC)
	path = filepath.Join(dir, Prefix(experiment, began)+Suffix)
	var text []byte
	for i, b := range []Body{
		{Header: &Header{Format: 1, Experiment: experiment, Snapshot: true, Host: host, BootID: boot, Ports: flow.NewPorts(5044), Places: []Place{{Name: "filebeat", Role: Shipper}}}},
		{Mark: &Mark{Text: fmt.Sprintf("%s %d", boot, mono)}},
		{End: &End{Reason: EndDone}},
	} {
		off := time.Duration(i) * time.Millisecond
		var err error
		if text, err = AppendLine(text, Record{N: uint64(i + 1), Time: began.Add(off), Mono: time.Duration(mono)*time.Second + off, Body: b}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteManifest(strings.TrimSuffix(path, Suffix)); err != nil {
		t.Fatal(err)
	}
	return path
}

func marksOf(rec *Recording) (texts []string) {
	for _, r := range rec.Records {
		if r.Mark != nil {
			texts = append(texts, r.Mark.Text)
		}
	}
	return texts
}

// A series is in the order of the monotonic clock within a boot, whatever was done
// to the wall clock, and by the wall clock from boot to boot.
func TestSeriesOrder(t *testing.T) {
	dir := t.TempDir()
	snapshot(t, dir, "web", "first", 1000, 5000)
	snapshot(t, dir, "web", "first", 400, 5300) // the wall clock was set back
	snapshot(t, dir, "web", "first", 700, 5600)
	snapshot(t, dir, "web", "second", 1300, 60)
	snapshot(t, dir, "db", "first", 1350, 5900) // another series
	snapshot(t, dir, "web", "second", 1600, 360)
	path, err := Find(dir)
	if err != nil || path != filepath.Join(dir, "web"+Suffix) {
		t.Fatalf("%q, %v", path, err)
	}
	for _, name := range []string{filepath.Join(dir, "web"), path} {
		if again, err := Find(name); err != nil || again != path {
			t.Errorf("Find(%q) is %q, %v", name, again, err)
		}
	}
	rec, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"first 5000", "first 5300", "first 5600", "second 60", "second 360"}; !slices.Equal(marksOf(rec), want) {
		t.Errorf("order %q, want %q", marksOf(rec), want)
	}
	if h := rec.Header(); !h.Snapshot || len(h.Merged) != 5 || !h.Merged[4].Snapshot || rec.End() == nil {
		t.Errorf("header %+v", h)
	}
	for i := 1; i < len(rec.Records); i++ {
		if rec.Records[i].Mono < rec.Records[i-1].Mono || rec.Records[i].N != uint64(i+1) {
			t.Fatalf("record %d: %s after %s", rec.Records[i].N, rec.Records[i].Mono, rec.Records[i-1].Mono)
		}
	}
	c, err := Verify(path)
	if err != nil || !c.Whole() || c.Snapshots != 5 || c.Records != 15 || *c.FilesGood != 5 {
		t.Errorf("check %+v, %v", c, err)
	}
	if len(Parts(path)) != 5 {
		t.Errorf("parts %q", Parts(path))
	}
	one, err := Load(Parts(path)[0])
	if err != nil || len(one.Records) != 3 || one.Header().Merged != nil {
		t.Errorf("one of them alone: %d records, %v", len(one.Records), err)
	}
	// Bounded memory: the newest are loaded.
	small, err := load(path, nil, 1)
	if err != nil || small.Older != 4 || !slices.Equal(marksOf(small), []string{"second 360"}) {
		t.Errorf("%q, older %d, %v", marksOf(small), small.Older, err)
	}
}

// A recording of another kind that is newer is what a folder means; one whose
// recorder was killed before its first byte is none.
func TestFindBesideSnapshots(t *testing.T) {
	dir := t.TempDir()
	snapshot(t, dir, "web", "first", 100, 100)
	empty := filepath.Join(dir, "web-20260102-000500"+Suffix)
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	series := filepath.Join(dir, "web"+Suffix)
	if path, err := Find(dir); err != nil || path != series {
		t.Errorf("%q, %v", path, err)
	}
	if rec, err := Load(series); err != nil || len(rec.Header().Merged) != 1 {
		t.Errorf("%v", err)
	}
	newer := filepath.Join(dir, Prefix("web", time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC))+Suffix)
	w, err := Create(newer, Header{Experiment: "web"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(End{Reason: EndDone}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, filepath.Join(dir, "web")} {
		if path, err := Find(name); err != nil || path != newer {
			t.Errorf("Find(%q): %q, %v", name, path, err)
		}
	}
}

// A snapshot that is torn, or changed, costs the series what is missing of it.
func TestSeriesHurt(t *testing.T) {
	dir := t.TempDir()
	first := snapshot(t, dir, "web", "first", 100, 100)
	snapshot(t, dir, "web", "first", 400, 400)
	text, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	header := strings.IndexByte(string(text), '\n') + 1
	series := filepath.Join(dir, "web"+Suffix)
	for cut := range text {
		if err := os.WriteFile(first, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		rec, err := Load(series)
		if err != nil || !slices.Contains(marksOf(rec), "first 400") {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		c, err := Verify(series)
		if err != nil || cut >= header && (c.Whole() || len(c.Parts) != 1) || cut < header-1 && c.Snapshots != 1 {
			t.Fatalf("cut at %d: %+v, %v", cut, c, err)
		}
	}
}

// What the disk did not take of the newest is read from memory.
func TestLoadSnapshotsUnwritten(t *testing.T) {
	dir := t.TempDir()
	first, second := snapshot(t, dir, "web", "first", 100, 100), snapshot(t, dir, "web", "first", 400, 400)
	text, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if before, ok := Previous(second); !ok || before != first {
		t.Errorf("before it is %q", before)
	}
	snapshotOf(t, "other", dir, "web", "second", 401, 20)
	if before, ok := Previous(second); !ok || before != first { // in one folder
		t.Errorf("before it, of its host, is %q", before)
	}
	if before, ok := Previous(first); !ok || before != second { // by name it is older: the clock was set back
		t.Errorf("before it is %q", before)
	}
	cut := strings.IndexByte(string(text), '\n') + 1
	if err := os.WriteFile(second, text[:cut], 0o600); err != nil {
		t.Fatal(err)
	}
	rec, err := LoadSnapshots([]string{first, second}, text[cut:])
	if err != nil || !slices.Equal(marksOf(rec), []string{"first 100", "first 400"}) {
		t.Errorf("%q, %v", marksOf(rec), err)
	}
	if before, ok := Previous(first); ok { // what is torn proves nothing
		t.Errorf("before it is %q", before)
	}
}

// Retain removes whole snapshots of its own series, the oldest first, and leaves the
// newest two and everything else.
func TestRetain(t *testing.T) {
	now := time.Date(2026, 1, 2, 1, 0, 0, 0, time.UTC)
	tests := []struct {
		keep Keep
		left int
	}{
		{Keep{}, 6}, {Keep{For: time.Hour}, 6}, {Keep{For: 30 * time.Minute}, 3}, {Keep{For: time.Second}, 2}, {Keep{Size: 1}, 2}, {Keep{Size: 1 << 30}, 6},
		{Keep{Size: 2600}, 3}, {Keep{For: 30 * time.Minute, Size: 1}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.keep.String(), func(t *testing.T) {
			dir := t.TempDir()
			var newest string
			for _, second := range []int{100, 400, 1000, 1900, 2500, 3000} {
				newest = snapshot(t, dir, "web", "first", second, second)
				if err := os.WriteFile(strings.TrimSuffix(newest, Suffix)+"-filebeat-container.log", make([]byte, 200), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			others := []string{filepath.Base(snapshot(t, dir, "web-2", "first", 50, 50)), "halfopen-nat-20250101-000000-timeline.jsonl", "web-20250101-000000-filebeat-container.log", "web-snapshot.lock", "notes.txt"}
			for _, o := range others[1:] {
				if err := os.WriteFile(filepath.Join(dir, o), []byte("mine"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w, err := Create(filepath.Join(dir, "web-20250101-010000"+Suffix), Header{Experiment: "web"}, nil) // recorded, of the same name
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Close(End{Reason: EndDone}); err != nil {
				t.Fatal(err)
			}
			others = append(others, "web-20250101-010000"+Suffix)
			gone, err := Retain(newest, tt.keep, now)
			if err != nil {
				t.Fatal(err)
			}
			parts := Parts(filepath.Join(dir, "web"+Suffix))
			if len(parts) != tt.left || parts[len(parts)-1] != newest {
				t.Errorf("left %q, want %d", parts, tt.left)
			}
			if n := 3 * (6 - tt.left); n == 0 != (gone == nil) || gone != nil && (len(gone.Names) != n || gone.Bytes == 0) {
				t.Errorf("removed %+v", gone)
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) != 3*tt.left+len(others)+1 {
				t.Errorf("%d files are left, %v", len(files), err)
			}
			for _, o := range others {
				if _, err := os.Stat(filepath.Join(dir, o)); err != nil {
					t.Error(err)
				}
			}
			if c, err := Verify(filepath.Join(dir, "web"+Suffix)); err != nil || c.Snapshots != tt.left {
				t.Errorf("check %+v, %v", c, err)
			}
		})
	}
}

// Snapshots of two hosts merge like any recordings.
func TestMergeSnapshots(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	paths := []string{snapshot(t, a, "web", "A", 100, 100), snapshot(t, b, "web", "B", 101, 900), snapshot(t, a, "web", "A", 400, 400)}
	m, err := Merge(paths)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var order []string
	for {
		r, err := m.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Mark != nil {
			order = append(order, r.Mark.Text)
		}
	}
	if want := []string{"A 100", "B 900", "A 400"}; !slices.Equal(order, want) || !m.Header.Snapshot {
		t.Errorf("order %q, header %+v", order, m.Header)
	}
}

// A snapshot that --keep removes while the series is read is left out, whenever that
// is, and counted.
func TestSeriesRemovedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, second := range []int{100, 400, 700} {
		paths = append(paths, snapshot(t, dir, "web", "first", second, second))
	}
	m, err := Merge(paths)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	rec := &Recording{}
	for {
		r, err := m.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		rec.Records = append(rec.Records, r)
	}
	if want := []string{"first 400", "first 700"}; m.Gone != 1 || !slices.Equal(marksOf(rec), want) || rec.End() == nil {
		t.Errorf("after the headers were read: %d gone, %q, end %+v", m.Gone, marksOf(rec), rec.End())
	}
	rec, err = LoadSnapshots(paths, nil)
	if err != nil || rec.Gone != 1 || len(rec.Header().Merged) != 2 || len(marksOf(rec)) != 2 {
		t.Errorf("after they were listed: %q, %v", marksOf(rec), err)
	}
	for _, path := range paths[1:] {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := LoadSnapshots(paths, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("all are gone: %v", err)
	}
}

// What may have been a snapshot and can't be read, or has lost its timeline, is told
// of by verify and in the recording.
func TestSeriesWithUnread(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, second := range []int{100, 400, 700, 1000} {
		path := snapshot(t, dir, "web", "first", second, second)
		if _, err := WriteManifest(strings.TrimSuffix(path, Suffix)); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	series := filepath.Join(dir, "web"+Suffix)
	if c, err := Verify(series); err != nil || !c.Whole() {
		t.Fatalf("%+v, %v", c, err)
	}
	text, err := os.ReadFile(paths[1])
	if err != nil {
		t.Fatal(err)
	}
	text[20] ^= 1
	if err := errors.Join(os.WriteFile(paths[1], text, 0o600), os.Remove(paths[2])); err != nil {
		t.Fatal(err)
	}
	c, err := Verify(series)
	if err != nil || c.Whole() || c.Snapshots != 2 || len(c.FilesBad) != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	rec, err := Load(series)
	if err != nil || !slices.Equal(rec.Unread, []string{filepath.Base(paths[1])}) || len(marksOf(rec)) != 2 {
		t.Errorf("unread %q, %v", rec.Unread, err)
	}
}
