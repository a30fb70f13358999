package timeline

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"halfopen/flow"
)

// write makes a small recording in a fresh folder and returns its path.
func write(t testing.TB, bodies ...Body) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), Prefix("halfopen-nat", time.Now())+Suffix)
	w, err := Create(path, Header{Tool: "test", Experiment: "halfopen-nat", Ports: flow.NewPorts(5044)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bodies {
		w.Append(time.Millisecond, b)
	}
	if err := w.Close(End{Reason: "done"}); err != nil {
		t.Fatal(err)
	}
	return path
}

func marks(n int) (bodies []Body) {
	for i := range n {
		bodies = append(bodies, Body{Mark: &Mark{Text: fmt.Sprintf("mark %d, \"quoted\" and 한국어", i)}})
	}
	return bodies
}

func TestRoundTrip(t *testing.T) {
	want := marks(3)
	rec, err := Load(write(t, want...))
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.Damage)+len(rec.Holes) != 0 {
		t.Errorf("damage %v, holes %v in a whole recording", rec.Damage, rec.Holes)
	}
	if rec.Header().Format != Format || rec.End() == nil {
		t.Errorf("header %+v, end %+v", rec.Header(), rec.End())
	}
	for i, b := range want {
		got := rec.Records[i+1]
		if diff := cmp.Diff(b, got.Body); diff != "" {
			t.Errorf("record %d: %s", i+1, diff)
		}
		if got.N != uint64(i+2) || got.Took != time.Millisecond || got.Mono <= 0 || got.Mono < rec.Records[i].Mono {
			t.Errorf("envelope of record %d: %+v", i+1, got)
		}
	}
}

// A record of a kind that this program does not know is kept as it was.
func TestUnknownKindIsKept(t *testing.T) {
	line := sum(`{"n":2,"time":"2026-01-02T03:04:05Z","mono_ns":7,"satellite":{"orbit":3}`)
	r, err := decode(line)
	if err != nil {
		t.Fatal(err)
	}
	if r.Unknown == nil || r.Unknown.Kind != "satellite" || string(r.Unknown.Raw) != `{"orbit":3}` {
		t.Errorf("unknown is %+v", r.Unknown)
	}
}

// sum completes a record's object with its checksum.
func sum(object string) []byte {
	return fmt.Appendf(nil, `%s,"crc":"%08x"}`, object, crc32c([]byte(object)))
}

func TestNewerFormatIsRefused(t *testing.T) {
	line := sum(`{"n":1,"time":"2026-01-02T03:04:05Z","mono_ns":7,"header":{"format":99}`)
	_, err := ReadAll(bytes.NewReader(append(line, '\n')))
	if !errors.Is(err, ErrNewer) {
		t.Errorf("error %v", err)
	}
}

func TestVerify(t *testing.T) {
	path := write(t, marks(3)...)
	prefix := path[:len(path)-len(Suffix)]
	extra := prefix + "-drop-window.txt"
	if err := os.WriteFile(extra, []byte("as it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteManifest(prefix); err != nil {
		t.Fatal(err)
	}
	c, err := Verify(path)
	if err != nil || !c.Whole() || c.FilesGood == nil || *c.FilesGood != 2 {
		t.Fatalf("check %+v, error %v", c, err)
	}
	if err := os.WriteFile(extra, []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = Verify(path); err != nil || c.Whole() || len(c.FilesBad) != 1 {
		t.Errorf("after a change: check %+v, error %v", c, err)
	}
	// What the manifest does not name was slipped in, and without a manifest
	// nothing is known of the files.
	if err := os.WriteFile(prefix+manifestSuffix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err = Verify(path); err != nil || c.Whole() || len(c.FilesBad) != 2 {
		t.Errorf("with an empty manifest: check %+v, error %v", c, err)
	}
	if err := os.Remove(prefix + manifestSuffix); err != nil {
		t.Fatal(err)
	}
	if c, err = Verify(path); err != nil || c.Whole() {
		t.Errorf("without manifest: check %+v, error %v", c, err)
	}
}

func TestFind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with [a] *pattern")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"halfopen-nat-20260102-030405-timeline.jsonl", "halfopen-nat-20260102-030405-drop-window.txt",
		"other-20260103-030405-timeline.jsonl", "other-20260103-030405-9-timeline.jsonl", "other-20260103-030405-10-timeline.jsonl",
		"halfopen-nat-20260102-030405-filebeat.yml", "stray.txt",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first, newest := "halfopen-nat-20260102-030405-timeline.jsonl", "other-20260103-030405-10-timeline.jsonl"
	for name, want := range map[string]string{
		"":                             newest,
		"halfopen-nat-20260102-030405": first,
		"halfopen-nat-20260102-030405-drop-window.txt": first,
		"halfopen-nat-20260102-030405-filebeat.yml":    first,
		first:       first,
		"stray.txt": "",
		"nothing":   "",
	} {
		got, err := Find(filepath.Join(dir, name))
		if want == "" {
			if err == nil {
				t.Errorf("Find(%q) is %s, want an error", name, got)
			}
			continue
		}
		if err != nil || filepath.Base(got) != want {
			t.Errorf("Find(%q) is %s, %v; want %s", name, got, err, want)
		}
	}
}

func FuzzReadAll(f *testing.F) {
	whole, err := os.ReadFile(write(f, marks(2)...))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	for _, g := range goldenFiles(f) {
		f.Add(g.text)
	}
	f.Add([]byte("\n\n{}\n"))
	f.Add(append(sum(`{"n":1,"header":{"format":1}`), '\n'))
	f.Fuzz(func(t *testing.T, in []byte) {
		rec, err := ReadAll(bytes.NewReader(in))
		if err == nil && rec.Header() == nil {
			t.Error("no header and no error")
		}
	})
}
