package fault

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"halfopen/flow"
	"halfopen/middlebox"
)

// sameWindow compares windows as their text tells them: without the monotonic
// part of a time.
var sameWindow = cmp.Options{
	cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) }),
	cmp.Comparer(func(a, b flow.Flow) bool { return a == b }),
	cmpopts.EquateEmpty(),
}

// recorded are the texts of a real fault at its four stages.
func recorded(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/*[a-z].txt")
	if err != nil || len(files) != 4 {
		t.Fatalf("recorded windows %v, %v; want 4", files, err)
	}
	texts := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts[strings.TrimSuffix(filepath.Base(file), ".txt")] = string(text)
	}
	return texts
}

func parse(t *testing.T, text string) Window {
	t.Helper()
	w, err := ParseWindow(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return w
}

func TestParseRecordedWindows(t *testing.T) {
	for name, want := range map[string]struct {
		steps, counters, deleted int
		start, end               bool
	}{
		"uncut":     {},
		"open":      {steps: 1, counters: 4, start: true},
		"forgotten": {steps: 2, counters: 8, deleted: 1, start: true, end: true},
		"undone":    {steps: 3, counters: 8, deleted: 1, start: true, end: true},
	} {
		text := recorded(t)[name]
		w := parse(t, text)
		deleted := 0
		for _, s := range w.Steps {
			deleted += len(s.Deleted)
		}
		if len(w.Steps) != want.steps || len(w.Counters) != want.counters || deleted != want.deleted {
			t.Errorf("%s: %d steps, %d counters, %d entries deleted; want %+v", name, len(w.Steps), len(w.Counters), deleted, want)
		}
		start, started := w.Start()
		end, ended := w.End()
		if started != want.start || ended != want.end {
			t.Errorf("%s: started %t, ended %t; want %+v", name, started, ended, want)
		}
		if packets, _ := w.Dropped(StepDrop, Toward); started && packets < 3 {
			t.Errorf("%s: %d packets dropped", name, packets)
		}
		if first, last, ok := w.Met(StepDrop); ok != want.start || ok && (first.By.After(last.By) || first.By.Before(start)) {
			t.Errorf("%s: first packet %+v, last %+v, %t", name, first, last, ok)
		}
		if held, _ := w.Held(0); ended && (held <= 0 || end.Sub(start)-held > time.Millisecond || held-end.Sub(start) > time.Millisecond) {
			t.Errorf("%s: held for %s between %s and %s", name, held, start, end)
		}
		again, err := w.MarshalText()
		if err != nil || string(again) != text {
			t.Errorf("%s is written again as (%v)\n%s", name, err, cmp.Diff(text, string(again)))
		}
	}
}

// A window written before the first and the last packet were.
func TestParseOldWindow(t *testing.T) {
	text, err := os.ReadFile("testdata/undone-0.1.txt")
	if err != nil {
		t.Fatal(err)
	}
	w := parse(t, string(text))
	if packets, bytes := w.Dropped(StepDrop, Toward); packets != 3 || bytes != 456 || len(w.Steps) != 3 || len(w.Steps[1].Deleted) != 1 {
		t.Errorf("%+v", w)
	}
	if first, last, ok := w.Met(StepDrop); ok {
		t.Errorf("packets between %v and %v, of which nothing is written", first, last)
	}
}

func TestLiveWindowRoundTrips(t *testing.T) {
	p := newPath(t)
	f := p.fault()
	p.dial()
	for _, step := range []func() error{
		func() error { return nil },
		func() error { _, err := f.Cut(); return err },
		func() error { _, err := f.Hold(nil); return err },
		f.Undo,
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		w := f.Window("a method")
		var text bytes.Buffer
		if n, err := w.WriteTo(&text); err != nil || n != int64(text.Len()) {
			t.Fatalf("%d bytes of %d, %v", n, text.Len(), err)
		}
		back := parse(t, text.String())
		if diff := cmp.Diff(w, back, sameWindow); diff != "" {
			t.Errorf("read back:\n%s", diff)
		}
		if inode, err := p.router.Inode(); err != nil || back.Netns != inode || back.Method != "a method" || !back.Ports.Has(port) {
			t.Errorf("window %+v: want namespace %d, port %d (%v)", back, inode, port, err)
		}
	}
}

// A cut file is never taken for a whole one.
func TestParseRefusesACutFile(t *testing.T) {
	for name, text := range recorded(t) {
		end := len(strings.TrimSpace(text))
		for n := range end {
			if w, err := ParseWindow(strings.NewReader(text[:n])); err == nil {
				t.Fatalf("%s cut after %d of %d bytes was read as %+v", name, n, end, w)
			}
		}
		parse(t, text[:end])
	}
}

func TestParseRefusesWhatDoesNotAgree(t *testing.T) {
	text := recorded(t)["undone"]
	for _, change := range [][2]string{
		{"format 1", "format 2"},
		{"dropped-toward: ", "dropped-toward: 1"},
		{"dropped: toward ", "dropped: toward 1"},
		{"dropped: toward ", "dropped: sideways "},
		{"duration: ", "duration: 1h"},
		{"ports: 5044", "ports: 5044 80"},
		{"ports: 5044", "ports: 0x13B4"},
		{"ports: 5044", "ports: many"},
		{"netns: ", "netns: -"},
		{"step: forget", "step: forget\nstep: forget"},
		{"method: ", "weather: fine\nmethod: "},
		{"method: ", "known: yesterday\nmethod: "},
		{"start: 20", "start: 19"},
		{"known: kernel acknowledged the rules between ", "known: kernel acknowledged the rules "},
		{"Z and ", "+01:00 and "},
		{"mono: ", "mono: soon"},
		{"forgotten-entries: 1", "forgotten-entries: 2"},
		{"deleted-entry: {", "deleted-entry: "},
		{"first: between ", "first: "},
		{"last: between ", "last: after "},
		{"last-dropped: between ", "last-dropped: between 1"},
		{"step: drop", "first: between x and y\nstep: drop"},
		{"took: ", "took = "},
	} {
		changed := strings.Replace(text, change[0], change[1], 1)
		if changed == text {
			t.Fatalf("%q is not in the text", change[0])
		}
		if _, err := ParseWindow(strings.NewReader(changed)); err == nil {
			t.Errorf("%q instead of %q was read", change[1], change[0])
		} else if change[0] != "format 1" && !strings.Contains(err.Error(), `"`) {
			t.Errorf("%q: error %q does not quote the line", change[1], err)
		}
	}
	for _, change := range [][2]string{{"\n", "\r\n"}, {"\n", "  \n\n"}, {"\nstep", "\n# a remark\nstep"}} {
		if diff := cmp.Diff(parse(t, text), parse(t, strings.ReplaceAll(text, change[0], change[1])), sameWindow); diff != "" {
			t.Errorf("%q instead of %q:\n%s", change[1], change[0], diff)
		}
	}
}

func TestMarshalRefusesWhatCannotBeReadBack(t *testing.T) {
	step := Step{Name: StepDrop, Known: "by hand", Rules: []string{"r"}}
	for name, w := range map[string]Window{
		"two lines":          {Method: "a\nb"},
		"space at the end":   {Method: "a "},
		"not UTF-8":          {Method: "\xff"},
		"no name":            {Steps: []Step{{Known: "x"}}},
		"unknown why":        {Steps: []Step{{Name: "x"}}},
		"rule twice":         {Steps: []Step{{Name: "x", Known: "y", Rules: []string{"r", "r"}}}},
		"foreign counter":    {Steps: []Step{step}, Counters: []Counter{{Rule: "other", Step: StepDrop}}},
		"year of five":       {Steps: []Step{{Name: "x", Known: "y", End: time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)}}},
		"state of two lines": {Steps: []Step{{Name: "x", Known: "y", Deleted: []middlebox.Entry{{State: "a\nb"}}}}},
	} {
		if text, err := w.MarshalText(); err == nil {
			t.Errorf("%s: written as\n%s", name, text)
		}
	}
	w := Window{Steps: []Step{step}, Counters: []Counter{{Rule: "r", Step: StepDrop, Direction: From, Packets: math.MaxUint64, Bytes: math.MaxUint64}}}
	w.Steps[0].Deleted = []middlebox.Entry{{
		Orig: flow.New(netip.MustParseAddrPort("[2001:db8::1]:1"), netip.MustParseAddrPort("[2001:db8::2]:5044")),
	}}
	text, err := w.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, parse(t, string(text)), sameWindow); diff != "" {
		t.Error(diff)
	}
}

// Whatever a later method does, its window can be written and read.
func TestAnyWindowRoundTrips(t *testing.T) {
	word := rapid.StringMatching(`[a-z]+( [a-z":;{}#]+)?`)
	moment := rapid.Custom(func(t *rapid.T) time.Time { return time.Unix(0, rapid.Int64().Draw(t, "time")).UTC() })
	long := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64().Draw(t, "duration")) })
	rapid.Check(t, func(t *rapid.T) {
		w := Window{
			Method: word.Draw(t, "method"), Netns: rapid.Uint64().Draw(t, "netns"),
			Ports: flow.NewPorts(rapid.SliceOf(rapid.Uint16Min(1)).Draw(t, "ports")...),
			Setup: rapid.SliceOf(word).Draw(t, "setup"), Read: moment.Draw(t, "read"), Error: word.Draw(t, "error"),
		}
		for i := range rapid.IntRange(0, 3).Draw(t, "steps") {
			s := Step{
				Name: fmt.Sprint(word.Draw(t, "name"), i), Known: word.Draw(t, "known"),
				Start: moment.Draw(t, "start"), End: moment.Draw(t, "end"), Mono: long.Draw(t, "mono"), Took: long.Draw(t, "took"),
				Changed: rapid.SampledFrom([]string{"", "sysctl -w a.b=1 (it was 2)"}).Draw(t, "changed"),
				Rules:   rapid.SliceOfDistinct(word, func(rule string) string { return rule }).Draw(t, "rules"),
			}
			for _, rule := range s.Rules {
				c := Counter{
					Rule: rule, Step: s.Name, Direction: rapid.SampledFrom([]Direction{Toward, From}).Draw(t, "direction"),
					Packets: rapid.Uint64().Draw(t, "packets"), Bytes: rapid.Uint64().Draw(t, "bytes"),
				}
				if rapid.Bool().Draw(t, "met") {
					c.First = Seen{moment.Draw(t, "after"), moment.Draw(t, "by")}
					c.Last = Seen{moment.Draw(t, "after"), moment.Draw(t, "by")}
				}
				w.Counters = append(w.Counters, c)
			}
			w.Steps = append(w.Steps, s)
		}
		if rapid.Bool().Draw(t, "proxied") {
			w.Withheld = &Withheld{rapid.Uint64().Draw(t, "acks"), rapid.Uint64().Draw(t, "toward"), rapid.Uint64().Draw(t, "from")}
			if len(w.Steps) > 0 && rapid.Bool().Draw(t, "led") {
				w.Steps = slices.Insert(w.Steps, 0, Step{Name: StepProxy, Known: "by hand", Rules: []string{"add rule r"}})
			}
		}
		text, err := w.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseWindow(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(w, back, sameWindow); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzParseWindow(f *testing.F) {
	for _, text := range recorded(f) {
		f.Add(text)
	}
	proxied := Window{Method: "f-ack0", Steps: []Step{{Name: StepProxy, Known: "by hand"}, {Name: StepAck0, Known: "by hand"}}, Withheld: &Withheld{1, 2, 3}}
	text, err := proxied.MarshalText()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Fuzz(func(t *testing.T, text string) {
		w, err := ParseWindow(strings.NewReader(text))
		if err != nil {
			return
		}
		again, err := w.MarshalText()
		if err != nil {
			t.Fatalf("read but not written: %v\n%q", err, text)
		}
		if diff := cmp.Diff(w, parse(t, string(again)), sameWindow); diff != "" {
			t.Fatal(diff)
		}
	})
}
