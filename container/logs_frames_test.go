package container

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// frame is what an engine sends of one message.
func frame(stream byte, text string) string {
	header := [8]byte{stream}
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return string(header[:]) + text
}

const at = "2026-11-21T12:00:00.123456789Z "

// told is an Output that outlives the call.
type told struct {
	time, stream, text string
	partial            bool
	skipped            int64
}

func tell(into *[]told) func(Output) error {
	return func(o Output) error {
		t := told{stream: o.Stream, text: string(o.Text), partial: o.Partial, skipped: o.Skipped}
		if !o.Time.IsZero() {
			t.time = o.RawTime
		}
		*into = append(*into, t)
		return nil
	}
}

func TestReadFrames(t *testing.T) {
	const stamp = "2026-11-21T12:00:00.123456789Z"
	long, part := strings.Repeat("x", maxOutput), strings.Repeat("p", dockerPart)
	for _, tc := range []struct {
		name, stream string
		want         []told
		err          string
	}{
		{"both streams", frame(1, at+"one\n") + frame(2, at+"two\n"), []told{{stamp, "stdout", "one", false, 0}, {stamp, "stderr", "two", false, 0}}, ""},
		{"split at 16 KiB", frame(1, at+"one") + frame(1, at+"two\n"), []told{{stamp, "stdout", "one", true, 0}, {stamp, "stdout", "two", false, 0}}, ""},
		{"Docker, split", frame(1, at+part+"x") + frame(1, at+"two\n"), []told{{stamp, "stdout", part + "x", true, 0}, {stamp, "stdout", "two", false, 0}}, ""},
		{"Docker, newline lost", frame(1, at+part) + frame(1, at+"two"), []told{{stamp, "stdout", part, true, 0}, {stamp, "stdout", "two", false, 0}}, ""},
		{"empty line", frame(1, at+"\n"), []told{{stamp, "stdout", "", false, 0}}, ""},
		{"empty frame", frame(1, ""), []told{{"", "stdout", "", true, 0}}, ""},
		{"Podman, local time", frame(1, "2026-11-21T13:00:00.1+01:00 one\n"), []told{{"2026-11-21T13:00:00.1+01:00", "stdout", "one", false, 0}}, ""},
		{"no time", frame(1, "one two\n"), []told{{"", "stdout", "one two", false, 0}}, ""},
		{"two lines in one", frame(1, at+"one\ntwo\n"), []told{{stamp, "stdout", "one", false, 0}, {stamp, "stdout", "two", false, 0}}, ""},
		{"binary", frame(1, at+"\x00\xff\r\n"), []told{{stamp, "stdout", "\x00\xff\r", false, 0}}, ""},
		{"longest", frame(1, at+long+"\n"), []told{{stamp, "stdout", long, false, 0}}, ""},
		{"too long", frame(1, at+long+strings.Repeat("y", 5000)+"\n") + frame(1, at+"z\n"), []told{{stamp, "stdout", long, false, 5000}, {stamp, "stdout", "z", false, 0}}, ""},
		{"too long a part", frame(1, at+long+strings.Repeat("y", 5000)), []told{{stamp, "stdout", long, true, 5000}}, ""},
		{"the engine's error", frame(1, at+"one\n") + frame(3, "Error grabbing logs: disk\n"), []told{{stamp, "stdout", "one", false, 0}}, `"Error grabbing logs: disk"`},
		{"cut in a header", frame(1, at+"one\n") + "\x01\x00", []told{{stamp, "stdout", "one", false, 0}}, "unexpected EOF"},
		{"cut in a text", frame(1, at+"one\n")[:20], nil, "unexpected EOF"},
		{"4 GiB announced", "\x01\x00\x00\x00\xff\xff\xff\xffone\n", nil, "unexpected EOF"},
		{"no frames", at + "one\n", nil, "no header"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []told
			err := readFrames(strings.NewReader(tc.stream), strings.HasPrefix(tc.name, "Docker"), tell(&got))
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("error %v, want %q", err, tc.err)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %.300v, want %.300v", got, tc.want)
			}
		})
	}
}

func TestReadTerminal(t *testing.T) {
	const stamp = "2026-11-21T12:00:00.123456789Z"
	stream := at + "one\r\n" + at + strings.Repeat("x", maxOutput+200_000) + "\n" + at + "unfinished"
	for _, whole := range []bool{false, true} {
		var got []told
		if err := readTerminal(strings.NewReader(stream), whole, tell(&got)); err != nil {
			t.Fatal(err)
		}
		want := []told{{stamp, "stdout", "one", false, 0}, {stamp, "stdout", strings.Repeat("x", maxOutput), false, 200_000}, {stamp, "stdout", "unfinished", true, 0}}
		if !whole {
			want = want[:2]
		}
		if !slices.Equal(got, want) {
			t.Errorf("whole %v: got %.300v", whole, got)
		}
	}
}

// An error of the caller's ends the reading at once.
func TestReadFramesStops(t *testing.T) {
	stop := errors.New("stop")
	calls := 0
	err := readFrames(strings.NewReader(frame(1, at+"one\ntwo\n")+frame(1, at+"three\n")), true, func(Output) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// What is read of a stream does not depend on how it comes in pieces; no line
// grows beyond the bound, and no byte of a line is unaccounted for.
func FuzzReadFrames(f *testing.F) {
	f.Add([]byte(frame(1, at+"one\n")+frame(2, at+"two")), false)
	f.Add([]byte(frame(1, at+"one\ntwo\n\nthree")), false)
	f.Add([]byte(frame(3, "Error grabbing logs")), false)
	f.Add([]byte("\x01\x00\x00\x00\xff\xff\xff\xff"), false)
	f.Add([]byte(at+"one\r\n"+at+"two"), true)
	f.Fuzz(func(t *testing.T, stream []byte, tty bool) {
		read := func(r io.Reader, each func(Output) error) error {
			if tty {
				return readTerminal(r, true, each)
			}
			return readFrames(r, len(stream)%2 == 0, each)
		}
		var whole, bytewise []told
		err1 := read(bytes.NewReader(stream), tell(&whole))
		err2 := read(oneByte{bytes.NewReader(stream)}, tell(&bytewise))
		if fmt.Sprint(err1) != fmt.Sprint(err2) || !slices.Equal(whole, bytewise) {
			t.Errorf("at once %v, %v; byte by byte %v, %v", whole, err1, bytewise, err2)
		}
		for _, o := range whole {
			if len(o.text) > maxOutput || o.skipped < 0 || strings.Contains(o.text, "\n") || o.stream != "stdout" && o.stream != "stderr" {
				t.Errorf("%+v", o)
			}
		}
	})
}

type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 1)]) }

// What an answer repeats is not handed on again, however its times lie, and a
// log that was emptied meanwhile is noticed.
func TestRecent(t *testing.T) {
	base := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	line := func(i int) Output {
		at := base.Add(time.Duration(i-i&1*2) * time.Microsecond) // every other one out of order
		return Output{Time: at, RawTime: at.Format(time.RFC3339Nano), Stream: "stdout", Text: fmt.Appendf(nil, "line %d", i)}
	}
	const before, after = 100, 10
	for _, n := range []int{1, 2, maxRecent - 1, maxRecent, maxRecent + 1, 3 * maxRecent} {
		for name, from := range map[string]LogStart{"all": {}, "since": {Since: base.Add(-time.Microsecond)}, "last": {Last: n}} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				m := newRecent(from)
				m.begin()
				for i := range n {
					if fresh, lost := m.take(line(i)); !fresh || lost {
						t.Fatalf("line %d: fresh %v, lost %v", i, fresh, lost)
					}
				}
				next := m.begin()
				first := -before
				if from == (LogStart{}) {
					first = 0
				}
				if next.Last != 0 || next.Since.After(line(n-1).Time) {
					t.Fatalf("resumed from %+v", next)
				}
				for i := first; i < n+after; i++ {
					if line(i).Time.Before(next.Since.Add(-time.Millisecond)) {
						continue // as Podman would
					}
					if fresh, lost := m.take(line(i)); fresh != (i >= n) || lost {
						t.Fatalf("again line %d: fresh %v, lost %v", i, fresh, lost)
					}
				}
				m.begin()
				if fresh, lost := m.take(line(n + 100)); !fresh || !lost {
					t.Errorf("an emptied log: fresh %v, lost %v", fresh, lost)
				}
				if fresh, lost := m.take(line(n + 101)); !fresh || lost {
					t.Errorf("the next line: fresh %v, lost %v", fresh, lost)
				}
				if len(m.ring) > maxRecent || len(m.count) > maxRecent {
					t.Errorf("%d lines remembered", len(m.ring))
				}
			})
		}
	}
}

// Where there was no line to count from, those that come next are all new.
func TestRecentOfNothing(t *testing.T) {
	m := newRecent(LogStart{Last: 5})
	m.begin()
	began := time.Now()
	m.ended(began)
	if next := m.begin(); next.Last != 0 || !next.Since.Equal(began) {
		t.Errorf("the next answer begins at %+v", next)
	}
}

// A later run knows from a place which lines an earlier one has handed on.
func TestPlace(t *testing.T) {
	base := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	line := func(i int) Output {
		at := base.Add(time.Duration(i-i&1*3) * time.Millisecond) // every other one well out of order
		return Output{Time: at, RawTime: at.Format(time.RFC3339Nano), Stream: "stdout", Text: fmt.Appendf(nil, "line %d", i)}
	}
	for _, n := range []int{0, 1, 2, maxPlace, maxPlace + 1, 3 * maxPlace, maxRecent + maxPlace + 1} {
		m := newRecent(LogStart{Since: base.Add(-time.Second)})
		m.begin()
		for i := range n {
			m.take(line(i))
		}
		for run := range 3 { // nothing new comes in the runs between
			p, ok := m.place()
			if !ok || len(p.sums) != min(n, maxPlace) {
				t.Fatalf("%d lines, run %d: place %v, %v", n, run, p, ok)
			}
			again, err := parsePlace(p.String())
			if err != nil || again.String() != p.String() {
				t.Fatalf("%q: %v, %v", p, again, err)
			}
			m = newRecent(LogStart{})
			m.resume(again)
			from := m.begin()
			for i := range n {
				if line(i).Time.Before(from.Since) {
					continue
				}
				if fresh, lost := m.take(line(i)); fresh || lost {
					t.Fatalf("%d lines, run %d: line %d again: fresh %v, lost %v", n, run, i, fresh, lost)
				}
			}
		}
		for i := n; i < n+10; i++ {
			if fresh, lost := m.take(line(i)); !fresh || lost {
				t.Fatalf("%d lines: line %d: fresh %v, lost %v", n, i, fresh, lost)
			}
		}
	}
	m := newRecent(LogStart{Last: 5})
	if p, ok := m.place(); ok {
		t.Errorf("no line has come, and where is not known: place %v", p)
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add(place{}.String())
	f.Add(place{since: time.Unix(1, 5), newest: time.Unix(2, 0), sums: []uint64{0, 1, 1 << 63}}.String())
	f.Add("2026-11-21T12:00:00Z 2026-11-21T13:00:00+01:00 zz -1")
	f.Add("0000-01-01T00:00:00Z 0000-01-01T00:00:00+01:00 0")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePlace(s)
		if err != nil {
			return
		}
		again, err := parsePlace(p.String())
		if err != nil || again.String() != p.String() || len(p.sums) > maxPlace {
			t.Errorf("%q is %v, again %v, %v", s, p, again, err)
		}
	})
}
