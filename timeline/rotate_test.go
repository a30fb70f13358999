package timeline

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"halfopen/flow"
)

// writeLong makes a recording of several segments and returns its path. It is whole,
// with a manifest.
func writeLong(t testing.TB, records int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), Prefix("halfopen-nat", time.Now())+Suffix)
	w, err := Create(path, Header{Tool: "test", Ports: flow.NewPorts(5044)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Rotate(Rotation{MaxSize: 4 << 10})
	timeout := time.Minute
	w.Append(0, Body{Settings: &Settings{Name: "filebeat", Timeout: &timeout}})
	for i := range records {
		w.Append(0, Body{Mark: &Mark{Text: fmt.Sprintf("mark %d, %s", i, strings.Repeat("x", 100))}})
		if i%20 == 0 {
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(End{Reason: EndDone}); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteManifest(strings.TrimSuffix(path, Suffix)); err != nil {
		t.Fatal(err)
	}
	return path
}

func segmentsOf(t *testing.T, path string) []segment {
	t.Helper()
	list, err := segments(path)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Several segments are read as one recording, and its numbers go on.
func TestSegmentsAreOne(t *testing.T) {
	const records = 400
	path := writeLong(t, records)
	list := segmentsOf(t, path)
	if len(list) < 5 {
		t.Fatalf("only %d segments", len(list))
	}
	for i, s := range list {
		if last := i == len(list)-1; s.number != i+1 || s.packed == last {
			t.Errorf("segment %d of %d is %+v", i+1, len(list), s)
		}
	}
	rec, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Damage)+len(rec.Holes)+rec.Older != 0 || rec.End() == nil || rec.Header().Segment != 0 {
		t.Errorf("damage %v, holes %v, older %d, end %v", rec.Damage, rec.Holes, rec.Older, rec.End())
	}
	if want := 1 + 1 + records + 1; len(rec.Records) != want { // header, settings and end: each once
		t.Errorf("%d records, want %d", len(rec.Records), want)
	}
	for _, name := range []string{path, list[2].path, list[len(list)-1].path, strings.TrimSuffix(path, Suffix), filepath.Dir(path)} {
		if got, err := Find(name); err != nil || got != path {
			t.Errorf("Find(%q) is %q, %v", name, got, err)
		}
	}
	if c, err := Verify(path); err != nil || !c.Whole() || c.Segments != len(list) {
		t.Errorf("check %+v, %v", c, err)
	}
}

// Each segment can be read alone: with the header of the recording, its start, and
// what only earlier segments would tell.
func TestSegmentAlone(t *testing.T) {
	path := writeLong(t, 200)
	list := segmentsOf(t, path)
	whole, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list[1:] {
		alone := filepath.Join(t.TempDir(), filepath.Base(s.path))
		if err := os.Rename(s.path, alone); err != nil {
			t.Fatal(err)
		}
		rec, err := Load(alone)
		if err != nil {
			t.Fatal(err)
		}
		h := rec.Header()
		if h.Segment != s.number || !h.Started.Equal(whole.Records[0].Time) || h.StartedMono != whole.Records[0].Mono || !h.Ports.Has(5044) {
			t.Errorf("header of segment %d: %+v", s.number, h)
		}
		if k := rec.Records[1]; k.Settings == nil || !k.Again || *k.Settings.Timeout != time.Minute {
			t.Errorf("segment %d does not repeat the settings: %+v", s.number, k)
		}
	}
}

// Of a recording that is too big for memory the newest segments are loaded.
func TestLoadTheNewest(t *testing.T) {
	path := writeLong(t, 300)
	list := segmentsOf(t, path)
	rec, err := load(path, nil, 10<<10) // the last segment, and what it takes of others
	if err != nil {
		t.Fatal(err)
	}
	if rec.Older < 1 || rec.Older > len(list)-2 || rec.Header().Segment != rec.Older+1 || rec.End() == nil || len(rec.Holes) != 0 {
		t.Errorf("%d of %d segments are left out, header %+v, holes %v", rec.Older, len(list), rec.Header(), rec.Holes)
	}
	if k := rec.Records[1]; k.Settings == nil {
		t.Errorf("the settings are not known: %+v", k)
	}
}

// A recorder that is killed while it compresses leaves the plain file, or both: each
// is read once, and what is half written not at all.
func TestBothForms(t *testing.T) {
	path := writeLong(t, 200)
	want, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	list := segmentsOf(t, path)
	f, err := list[1].open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var plain bytes.Buffer
	if _, err := plain.ReadFrom(f); err != nil {
		t.Fatal(err)
	}
	name := strings.TrimSuffix(list[1].path, packed)
	if err := os.WriteFile(name, plain.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list[0].path+Partial, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || len(got.Records) != len(want.Records) || len(got.Damage) != 0 {
		t.Fatalf("both: %d records, want %d; damage %v, error %v", len(got.Records), len(want.Records), got.Damage, err)
	}
	if err := os.Remove(list[1].path); err != nil {
		t.Fatal(err)
	}
	if got, err = Load(path); err != nil || len(got.Records) != len(want.Records) {
		t.Errorf("plain alone: %d records, want %d; error %v", len(got.Records), len(want.Records), err)
	}
}

// What is missing of a series is said: a segment in the middle, or the first ones
// unless the recorder itself says that it removed them.
func TestMissingSegments(t *testing.T) {
	path := writeLong(t, 300)
	list := segmentsOf(t, path)
	if err := os.Remove(list[2].path); err != nil {
		t.Fatal(err)
	}
	if c, err := Verify(path); err != nil || c.Whole() || len(c.Holes) != 1 {
		t.Errorf("without the third segment: %+v, %v", c, err)
	}
	if rec, err := Load(path); err != nil || len(rec.Holes) != 1 {
		t.Errorf("holes %v, %v", rec.Holes, err)
	}
	if err := os.Remove(list[0].path); err != nil {
		t.Fatal(err)
	}
	c, err := Verify(path)
	if err != nil || c.Whole() || len(c.Holes) != 2 || c.Holes[0].After != 0 || c.First == 1 {
		t.Errorf("without the first segment: %+v, %v", c, err)
	}
	if got, err := Find(filepath.Dir(path)); err != nil || got != path {
		t.Errorf("Find is %q, %v", got, err)
	}
	// A damaged segment costs itself alone.
	if err := os.WriteFile(list[3].path, []byte("no zstd at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	rec, err := Load(path)
	if err != nil || len(rec.Damage) != 1 || rec.Damage[0].File != filepath.Base(list[3].path) || rec.End() == nil {
		t.Errorf("damage %v, %v", rec.Damage, err)
	}
}

// What the recorder removed itself, at the very end too, is not missing.
func TestRemovedSegmentsAreKnown(t *testing.T) { synctest.Test(t, removedSegmentsAreKnown) } // else a flush of the writer's own begins segments, too

func removedSegmentsAreKnown(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, Prefix("kept", time.Now())+Suffix)
	w, err := Create(path, Header{Tool: "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Rotate(Rotation{MaxSize: 1, Closed: func(name string, bytes int64) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
		w.Append(0, Body{Removed: &Removed{Names: []string{name}, Bytes: bytes, Why: "test"}})
	}})
	w.Append(0, marks(1)[0])
	if err := w.Flush(); err != nil { // and a new segment
		t.Fatal(err)
	}
	if err := w.Close(End{Reason: EndDone}); err != nil { // which puts the first one away
		t.Fatal(err)
	}
	if _, err := WriteManifest(strings.TrimSuffix(path, Suffix)); err != nil {
		t.Fatal(err)
	}
	if c, err := Verify(path); err != nil || !c.Whole() || c.Removed != 1 || c.First != 3 {
		t.Errorf("check %+v, %v", c, err)
	}
}

// Segments end by time too.
func TestRotateByTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), Prefix("timed", time.Now())+Suffix)
	w, err := Create(path, Header{Tool: "test"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Rotate(Rotation{Every: time.Nanosecond})
	for range 3 {
		w.Append(0, marks(1)[0])
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(End{Reason: EndDone}); err != nil {
		t.Fatal(err)
	}
	if list := segmentsOf(t, path); len(list) < 4 {
		t.Errorf("segments %+v", list)
	}
}

// A file that unpacks to more than any recorder writes is read up to there, in
// bounded memory.
func TestBomb(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bomb-20260102-030405-timeline.jsonl.zst")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	chunk := append(sum(`{"n":1,"time":"2026-01-02T03:04:05Z","mono_ns":7,"header":{"format":1}`), '\n')
	chunk = append(chunk, make([]byte, 1<<20)...)
	for range maxUnpacked>>20 + 100 {
		if _, err := z.Write(chunk); err != nil {
			t.Fatal(err)
		}
		chunk = chunk[len(chunk)-1<<20:]
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	rec, err := Load(path)
	if err != nil || len(rec.Records) != 1 {
		t.Fatalf("%d records, %v", len(rec.Records), err)
	}
	if !slices.ContainsFunc(rec.Damage, func(d Damage) bool { return d.Why != "" && strings.Contains(d.Why, errTooBig.Error()) }) {
		t.Errorf("damage %v", rec.Damage)
	}
	// A window that would take all memory is refused.
	wide, err := os.Create(filepath.Join(dir, "wide-20260102-030405-timeline.jsonl.zst"))
	if err != nil {
		t.Fatal(err)
	}
	z, err = zstd.NewWriter(wide, zstd.WithWindowSize(512<<20))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * maxWindow >> 20 { // more than a window, or the frame needs none
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), wide.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(wide.Name()); !errors.Is(err, ErrNoHeader) || !strings.Contains(err.Error(), "window") {
		t.Errorf("error %v", err)
	}
}

func TestParseKeep(t *testing.T) {
	for in, want := range map[string]Keep{
		"14d": {For: 14 * 24 * time.Hour}, "36h": {For: 36 * time.Hour}, "200M": {Size: 200 << 20}, "14d/2G": {For: 14 * 24 * time.Hour, Size: 2 << 30}, "500K/1h30m": {For: 90 * time.Minute, Size: 500 << 10},
	} {
		if got, err := ParseKeep(in); err != nil || got != want {
			t.Errorf("ParseKeep(%q) is %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "/", "14", "200", "-1d", "0M", "1d/2d", "1M/2M", "1d/", "9999999999999T", "999999999999d", "1m/1M/1d", "NaNd", "-1h"} {
		if got, err := ParseKeep(in); err == nil {
			t.Errorf("ParseKeep(%q) is %+v", in, got)
		}
	}
}

func FuzzParseKeep(f *testing.F) {
	f.Add("14d/200M")
	f.Fuzz(func(t *testing.T, in string) {
		if k, err := ParseKeep(in); err == nil && (k.For < 0 || k.Size < 0 || k == (Keep{})) {
			t.Errorf("ParseKeep(%q) is %+v", in, k)
		}
	})
}
