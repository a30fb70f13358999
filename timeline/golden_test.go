package timeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The goldens are recordings that each version of the format has left for good: a
// later program reads them as they were meant. They are never made anew; a kind of
// record that is new gets a golden of its own.
func goldens(t testing.TB) (paths []string) {
	t.Helper()
	dirs, err := filepath.Glob("testdata/format-*")
	if err != nil || len(dirs) != Format {
		t.Fatalf("goldens of %d formats in %v, %v", Format, dirs, err)
	}
	for _, dir := range dirs {
		all, err := All(dir)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, all...)
	}
	return paths
}

// goldenFile is a segment of a golden.
type goldenFile struct {
	path   string
	packed bool
	data   []byte // of the file
	text   []byte
	want   []Record
}

func goldenFiles(t testing.TB) (files []goldenFile) {
	t.Helper()
	for _, path := range goldens(t) {
		list, err := segments(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			f := goldenFile{path: s.path, packed: s.packed}
			if f.data, err = os.ReadFile(s.path); err != nil {
				t.Fatal(err)
			}
			r, err := s.open()
			if err != nil {
				t.Fatal(err)
			}
			if f.text, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
			r.Close()
			var told bool
			if f.want, told, err = readHurt(f.data, f.packed); err != nil || told || len(f.want) == 0 {
				t.Fatalf("%s: %d records, damage %t, %v", s.path, len(f.want), told, err)
			}
			files = append(files, f)
		}
	}
	return files
}

// readHurt reads what is left of a file; told is whether it is said that something
// is wrong with it.
func readHurt(data []byte, packed bool) (records []Record, told bool, err error) {
	var in io.Reader = bytes.NewReader(data)
	if packed {
		z, err := unpack(in)
		if err != nil {
			return nil, true, nil
		}
		defer z.Close()
		in = z
	}
	r := NewReader(in)
	for {
		k, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if !packed { // bytes in memory
				return records, true, err
			}
			told = true
			break
		}
		records = append(records, k)
	}
	damage, _ := r.Damage()
	return records, told || len(damage) > 0, nil
}

// Every golden is whole, is understood to its last key, and together they have
// every kind of record.
func TestGoldens(t *testing.T) {
	seen := map[string]bool{}
	for _, path := range goldens(t) {
		c, err := Verify(path)
		c.Gaps = nil // one has them on purpose
		if err != nil || !c.Whole() || len(c.Unknown) != 0 {
			t.Errorf("%s: check %+v, %v", path, c, err)
		}
	}
	for _, f := range goldenFiles(t) {
		for line := range bytes.Lines(f.text) {
			object, err := checked(bytes.TrimSuffix(line, []byte("\n")))
			if err != nil {
				t.Fatal(err)
			}
			r, err := decode(bytes.TrimSuffix(line, []byte("\n")))
			if err != nil {
				t.Fatal(err)
			}
			again, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			var was, is map[string]any
			if err := errors.Join(json.Unmarshal(append(bytes.Clone(object), '}'), &was), json.Unmarshal(again, &is)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(was, is); diff != "" {
				t.Errorf("%s, record %d is read and written as another: %s", f.path, r.N, diff)
			}
			for kind := range is {
				seen[kind] = true
			}
		}
	}
	for kind := range fields(reflect.TypeFor[Body]()) {
		if !seen[kind] {
			t.Errorf("no golden has a record of the kind %q: add a recording that has, beside the others", kind)
		}
	}
}

// A golden cut at any byte yields every whole record before the cut, and a warning;
// a compressed one, whose bytes come in blocks, none but right ones.
func TestCutAnywhere(t *testing.T) {
	t.Parallel()
	for _, f := range goldenFiles(t) {
		for cut := range f.data {
			got, told, err := readHurt(f.data[:cut], f.packed)
			if err != nil {
				t.Fatalf("%s cut at %d: %v", f.path, cut, err)
			}
			want := bytes.Count(f.data[:cut], []byte("\n"))
			if torn := cut > 0 && f.data[cut-1] != '\n'; !f.packed && (len(got) != want || told != torn) {
				t.Fatalf("%s cut at %d: %d records, want %d; told of damage: %t", f.path, cut, len(got), want, told)
			}
			if f.packed && cut > 0 && !told {
				t.Fatalf("%s cut at %d: not a word", f.path, cut)
			}
			same(t, f, got)
		}
	}
}

// same wants the records of the golden, maybe not all of them.
func same(t *testing.T, f goldenFile, got []Record) {
	t.Helper()
	for _, r := range got {
		if i := int(r.N - f.want[0].N); i >= len(f.want) || !reflect.DeepEqual(r, f.want[i]) {
			t.Fatalf("%s: record %d was made up: %+v", f.path, r.N, r)
		}
	}
}

// A golden with any byte flipped yields every other record, and a warning.
func TestFlipAnywhere(t *testing.T) {
	t.Parallel()
	for _, f := range goldenFiles(t) {
		for at := range f.data {
			flip := []byte{0x01, 0x20, 0x80, f.data[at] ^ '\n'}[at%4]
			if flip == 0 {
				flip = 0x01
			}
			from, to, records := 0, len(f.data), len(f.want)
			if !f.packed { // the line, and its neighbours: a reader keeps nothing from line to line
				from, to = around(f.data, at)
				records = bytes.Count(f.data[from:to], []byte("\n"))
			}
			hurt := bytes.Clone(f.data[from:to])
			hurt[at-from] ^= flip
			got, told, err := readHurt(hurt, f.packed)
			if err != nil {
				t.Fatalf("%s, flip %#x at %d: %v", f.path, flip, at, err)
			}
			same(t, f, got)
			lost := records - len(got)
			switch {
			case f.packed && lost != 0 && !told:
				t.Fatalf("%s, flip %#x at %d: %d records less, and not a word", f.path, flip, at, lost)
			case !f.packed && (!told || lost < 1 || lost > 2): // two, where the newline between them went
				t.Fatalf("%s, flip %#x at %d: %d records less, told of damage: %t", f.path, flip, at, lost, told)
			}
		}
	}
}

// around is the line at a byte with the ones before and behind it.
func around(text []byte, at int) (from, to int) {
	from = bytes.LastIndexByte(text[:at], '\n') + 1
	from = bytes.LastIndexByte(text[:max(0, from-1)], '\n') + 1
	to = at + bytes.IndexByte(text[at:], '\n') + 1
	return from, to + bytes.IndexByte(text[to:], '\n') + 1
}

// A golden whose header is hurt is refused where that is its only one.
func TestHeaderHurt(t *testing.T) {
	for _, f := range goldenFiles(t) {
		if f.packed {
			continue
		}
		header := bytes.IndexByte(f.text, '\n') + 1
		hurt := bytes.Clone(f.text)
		hurt[header/2] ^= 0x20
		for _, text := range [][]byte{f.text[:header-1], hurt} {
			if _, err := ReadAll(bytes.NewReader(text)); !errors.Is(err, ErrNoHeader) || !strings.Contains(err.Error(), "line 1") {
				t.Errorf("%s: error %v", f.path, err)
			}
		}
	}
}

// FuzzSegment reads a compressed segment of whatever bytes, in bounded memory.
func FuzzSegment(f *testing.F) {
	for _, g := range goldenFiles(f) {
		f.Add(g.data)
		f.Add(g.data[:len(g.data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x-20260102-030405-timeline.jsonl.zst")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if rec, err := Load(path); err == nil && rec.Header() == nil {
			t.Error("no header and no error")
		}
		if _, err := Verify(path); err != nil && len(err.Error()) > 10_000 {
			t.Error("an error of more than a screen")
		}
	})
}
