package timeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/fault"
	"halfopen/flow"
)

// written is a recording of a host whose clocks the test chooses.
type written struct {
	t    *testing.T
	path string
	boot time.Time // the wall clock less the monotonic one, as a time
	n    uint64
	buf  []byte
}

func (w *written) add(mono time.Duration, b Body) {
	w.t.Helper()
	w.n++
	var err error
	if w.buf, err = AppendLine(w.buf, Record{N: w.n, Time: w.boot.Add(mono), Mono: mono, Body: b}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *written) save() string {
	w.t.Helper()
	if err := os.WriteFile(w.path, w.buf, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return w.path
}

func host(t *testing.T, dir, prefix string, mono time.Duration, h Header, boot time.Time) *written {
	t.Helper()
	w := &written{t: t, path: filepath.Join(dir, prefix+Suffix), boot: boot}
	h.Format = Format
	w.add(mono, Body{Header: &h})
	return w
}

func drain(t *testing.T, m *Merger) (all []Record) {
	t.Helper()
	defer m.Close()
	for {
		r, err := m.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
}

// Two hosts whose monotonic clocks say nothing to each other are joined by the wall
// clock; records keep their source; the times inside them move along.
func TestMergeHosts(t *testing.T) {
	dir := t.TempDir()
	yes, off := true, 3*time.Millisecond
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	// a was booted an hour before noon, b 81 days; each "at" is seconds past noon.
	a := host(t, dir, "a-20260102-120000", time.Hour, Header{Host: "web", BootID: "A", Ports: flow.NewPorts(5044), Synchronised: &yes, ClockError: &off,
		Places: []Place{{Name: "filebeat", Role: Shipper}}}, noon.Add(-time.Hour))
	day := 24 * time.Hour
	b := host(t, dir, "b-20260102-120001", 81*day+time.Second, Header{Host: "logs", BootID: "B", Ports: flow.NewPorts(24224),
		Places: []Place{{Name: "filebeat", Role: Receiver}}}, noon.Add(-81*day))
	for i := range 5 {
		at := time.Duration(2*i) * time.Second
		a.add(time.Hour+at, Body{Sockets: &Sockets{At: "filebeat", Readings: 2, Since: time.Hour + at - time.Millisecond}})
		b.add(81*day+time.Second+at, Body{Kernel: &Kernel{At: "filebeat"}})
	}
	b.add(81*day+20*time.Second, Body{Fault: &Fault{At: "filebeat", Step: fault.Step{Mono: 81*day + 19*time.Second}}})
	a.add(time.Hour+time.Minute, Body{End: &End{Reason: EndDone}})
	m, err := Merge([]string{b.save(), a.save(), b.path})
	if err != nil {
		t.Fatal(err)
	}
	all := drain(t, m)
	h := all[0].Header
	if len(h.Merged) != 2 || h.Merged[0].Host != "web" || h.Merged[0].Offset != 0 || h.Merged[1].Offset != time.Hour-81*day || h.Host != "web, logs" ||
		*h.Merged[0].ClockError != off || h.Merged[1].Synchronised != nil {
		t.Fatalf("header %+v", h)
	}
	if len(h.Ports) != 2 || len(h.Places) != 2 || h.Places[1].Name != "filebeat@logs" || h.Shipper() != "filebeat" {
		t.Errorf("ports %v, places %+v", h.Ports, h.Places)
	}
	var order []string
	for i, r := range all {
		if r.N != uint64(i+1) || i > 0 && r.Mono < all[i-1].Mono {
			t.Errorf("record %d has number %d and mono %s", i+1, r.N, r.Mono)
		}
		switch {
		case r.Sockets != nil:
			order = append(order, fmt.Sprintf("a%d", r.SourceN))
			if r.Source != 1 || r.Sockets.At != "filebeat" || r.Sockets.Since != r.Mono-time.Millisecond {
				t.Errorf("sockets %+v of source %d", r.Sockets, r.Source)
			}
		case r.Kernel != nil:
			order = append(order, fmt.Sprintf("b%d", r.SourceN))
			if r.Source != 2 || r.Kernel.At != "filebeat@logs" || r.Time.Sub(noon) != r.Mono-time.Hour {
				t.Errorf("kernel %+v of source %d at %s, mono %s", r.Kernel, r.Source, r.Time, r.Mono)
			}
		case r.Header != nil && r.Source == 2 && r.Header.Places[0].Name != "filebeat@logs":
			t.Errorf("the place of its own header is %q", r.Header.Places[0].Name)
		case r.Fault != nil && r.Fault.Step.Mono != r.Mono-time.Second:
			t.Errorf("fault's step at %s, record at %s", r.Fault.Step.Mono, r.Mono)
		}
	}
	if want := []string{"a2", "b2", "a3", "b3", "a4", "b4", "a5", "b5", "a6", "b6"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	// What comes out is a recording.
	var text []byte
	for _, r := range all {
		if text, err = AppendLine(text, r); err != nil {
			t.Fatal(err)
		}
	}
	rec, err := ReadAll(bytes.NewReader(text))
	if err != nil || len(rec.Damage)+len(rec.Holes) != 0 || rec.End() == nil || len(rec.Records) != len(all) {
		t.Errorf("read again: %d of %d records, damage %v, %v", len(rec.Records), len(all), rec.Damage, err)
	}
}

// Two recordings of one host since one boot share its monotonic clock: that orders
// them, though its wall clock was set by a minute between the two.
func TestMergeOneHost(t *testing.T) {
	dir := t.TempDir()
	boot := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	place := []Place{{Name: "filebeat", Role: Shipper}}
	a := host(t, dir, "a-20260102-000001", time.Second, Header{Host: "web", BootID: "A", Places: place}, boot)
	b := host(t, dir, "b-20260102-000102", 2*time.Second, Header{Host: "web", BootID: "A", Places: place}, boot.Add(time.Minute))
	a.add(3*time.Second, marks(1)[0])
	b.add(4*time.Second, marks(1)[0])
	a.add(5*time.Second, marks(1)[0])
	m, err := Merge([]string{a.save(), b.save()})
	if err != nil {
		t.Fatal(err)
	}
	all := drain(t, m)
	var order []int
	for _, r := range all {
		if r.Mark != nil {
			order = append(order, r.Source)
		}
	}
	if s := all[0].Header.Merged[1]; !slices.Equal(order, []int{1, 2, 1}) || s.Offset != 0 || s.WallOffset != time.Minute {
		t.Errorf("order %v, second source %+v", order, s)
	}
	if p := all[0].Header.Places; len(p) != 1 {
		t.Errorf("places of one host: %+v", p)
	}
}

// What a source lacks is a gap in the merged recording; what its segments only
// repeat is not in there twice.
func TestMergeDamaged(t *testing.T) {
	path := writeLong(t, 200)
	list := segmentsOf(t, path)
	if err := os.Remove(list[1].path); err != nil {
		t.Fatal(err)
	}
	last := list[len(list)-1].path
	text, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(last, text[:len(text)-3], 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Merge([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	settings := 0
	var lost []int64
	for _, r := range drain(t, m) {
		if r.Settings != nil {
			settings++
		}
		if r.Gap != nil {
			lost = append(lost, r.Gap.Lost)
		}
	}
	// The segment that is missing, the record that is cut, and the end that it was.
	if settings != 1 || len(lost) != 3 || lost[0] < 1 || lost[1] != -1 || lost[2] != -1 {
		t.Errorf("%d settings, gaps %v", settings, lost)
	}
}

func TestMergeErrors(t *testing.T) {
	if _, err := Merge(nil); !errors.Is(err, ErrNothing) {
		t.Errorf("error %v", err)
	}
	path := filepath.Join(t.TempDir(), "x-20260102-030405"+Suffix)
	if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Merge([]string{path}); !errors.Is(err, ErrNoHeader) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
}

// Whatever two files say, merging them ends, and in order.
func FuzzMerge(f *testing.F) {
	line := func(s string) []byte { return append(sum(s), '\n') }
	header := line(`{"n":1,"time":"2026-01-02T03:04:05Z","mono_ns":7,"header":{"format":1,"boot_id":"a"}`)
	f.Add(header, append(bytes.Clone(header), line(`{"n":9,"time":"2026-01-02T03:04:05Z","mono_ns":9223372036854775807,"mark":{"text":"x"}`)...))
	f.Add(header, line(`{"n":1,"time":"9999-01-02T03:04:05Z","mono_ns":-7,"header":{"format":1,"boot_id":"b"}`))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		dir := t.TempDir()
		var paths []string
		for i, text := range [][]byte{a, b} {
			path := filepath.Join(dir, fmt.Sprintf("x-20260102-03040%d%s", i, Suffix))
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
		m, err := Merge(paths)
		if err != nil {
			return
		}
		defer m.Close()
		var last time.Duration
		for {
			r, err := m.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Mono < last {
				t.Fatalf("record %d is of %s, after %s", r.N, r.Mono, last)
			}
			last = r.Mono
		}
	})
}
