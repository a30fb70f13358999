package collect

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/clock"
	"halfopen/timeline"
)

// withMarks runs a recording that takes marks while the script is at work, and
// returns what it recorded.
func withMarks(t *testing.T, dir string, script func(rec *Recorder, socket string), sources ...Source) *timeline.Recording {
	t.Helper()
	rec := open(t, dir)
	m, err := OpenMarks(rec, true)
	if err != nil {
		t.Fatal(err)
	}
	err = rec.Run(t.Context(), func(context.Context) error { script(rec, m.Path()); return nil }, append(sources, m)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := rec.Close(timeline.End{Reason: timeline.EndDone}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(m.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	got, err := timeline.Load(rec.Prefix() + timeline.Suffix)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A mark comes into the recording with the time at which it was called, and drop
// marks write the drop window and begin the phases.
func TestMarks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a long way down/", 8)) // longer than an address of a socket may be
	k := keeper{kept: make(chan string, 16)}
	var called time.Time
	var mono time.Duration
	var notes []string
	var window string
	got := withMarks(t, dir, func(rec *Recorder, socket string) {
		st, err := os.Stat(socket)
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("socket %v, %v", st.Mode(), err)
		}
		called, mono = time.Now().Add(-10*time.Millisecond), clock.Mono()-10*time.Millisecond
		for _, r := range []Remark{
			{Text: "firewall patched", Called: called, CalledMono: mono},
			{Drop: timeline.DropStart, Called: called, CalledMono: mono + time.Millisecond},
			{Drop: timeline.DropEnd, Text: "rule removed", CalledMono: mono + time.Hour, Called: called}, // by another clock
			{Drop: timeline.DropEnd, Called: called, CalledMono: mono},
		} {
			receipt, err := Send(socket, r)
			if err != nil || receipt.Recording != rec.Prefix() || receipt.Record == 0 {
				t.Errorf("receipt %+v, %v", receipt, err)
			}
			notes = append(notes, receipt.Note)
		}
		for late := time.After(60 * time.Second); !slices.Contains(notes, After); {
			select {
			case p := <-k.kept:
				notes = append(notes, p)
			case <-late:
				t.Error("the phases did not come")
				return
			}
		}
		text, err := os.ReadFile(rec.Path("drop-window.txt"))
		if err != nil {
			t.Error(err)
		}
		window = string(text)
	}, k)
	if want := []string{"", "", "", "no drop had been started"}; !slices.Equal(notes[:4], want) {
		t.Errorf("notes %q, want %q", notes, want)
	}
	if phases := notes[4:]; !slices.Equal(phases, []string{Before, During, After}) {
		t.Errorf("raw evidence was kept in %v", phases)
	}
	var marks []timeline.Mark
	for _, r := range got.Records {
		if r.Mark != nil {
			marks = append(marks, *r.Mark)
		}
	}
	if len(marks) != 4 || marks[0].CalledMono != mono || !marks[0].Called.Equal(called) || marks[1].Drop != timeline.DropStart ||
		marks[1].Text != "drop start" || marks[2].Called != nil || marks[2].CalledMono != 0 {
		t.Errorf("marks %+v", marks)
	}
	for _, want := range []string{"\nstart: ", "start-known: mark \"drop start\", record ", "end-known: mark \"rule removed\"", "window: 2", "complete: 2 windows"} {
		if !strings.Contains(window, want) {
			t.Errorf("%q is missing in\n%s", want, window)
		}
	}
	if strings.Contains(window, "duration: ") { // of two clocks
		t.Errorf("drop window\n%s", window)
	}
}

// Nonsense is refused with a reason, and the next mark is taken.
func TestMarksRefuse(t *testing.T) {
	withMarks(t, t.TempDir(), func(_ *Recorder, socket string) {
		for packet, why := range map[string]string{
			"hello": "read remark", `{"drop":"sideways"}`: "want start or end", `{"text":"` + strings.Repeat("x", maxRemark+1) + `"}`: "too long", strings.Repeat(" ", 3*maxPacket): "too long",
		} {
			conn, err := net.Dial("unixpacket", socket)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := conn.Write([]byte(packet)); err != nil {
				t.Error(err)
			}
			var got Receipt
			answer := make([]byte, maxPacket)
			n, err := conn.Read(answer)
			if err != nil || json.Unmarshal(answer[:n], &got) != nil || !strings.Contains(got.Error, why) {
				t.Errorf("answer %q, %v; want %q", answer[:n], err, why)
			}
			conn.Close()
		}
		conn, err := net.Dial("unixpacket", socket)
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close() // without a word
		if _, err := Send(socket, Remark{Text: "all the same"}); err != nil {
			t.Error(err)
		}
	})
}

// A recorder is found by the kernel's list of sockets, or by its folder; of one
// that was killed the socket is removed by whoever meets it.
func TestFindRecorders(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "halfopen-nat-20260102-030405"+markSocket)
	die := func() {
		l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: dead, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		l.Close()
	}
	die()
	if found, err := FindRecorders(dir); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
	if _, err := os.Lstat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead one's socket is still there: %v", err)
	}
	die()
	withMarks(t, dir, func(rec *Recorder, socket string) {
		if _, err := os.Lstat(dead); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a new recorder left the dead one's socket: %v", err)
		}
		for _, evidence := range []string{"", dir, rec.Prefix()} {
			found, err := FindRecorders(evidence)
			if err != nil || !slices.Contains(found, socket) || evidence != "" && len(found) != 1 {
				t.Errorf("in %q: found %v, %v", evidence, found, err)
			}
		}
		whole := rec.Prefix()
		for _, another := range []string{whole + "-2", whole[:len(whole)-1]} { // the second one of a second is …-2
			if found, err := FindRecorders(another); err != nil || len(found) != 0 {
				t.Errorf("in %q: found %v, %v", another, found, err)
			}
		}
	})
	if _, err := Send(dead, Remark{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestParseUnix(t *testing.T) {
	const table = `Num       RefCount Protocol Flags    Type St Inode Path
ffff8c0: 00000002 00000000 00010000 0005 01 31234 /tmp/a b/x-20260102-030405-mark.sock
ffff8c1: 00000003 00000000 00000000 0005 03 31235 /tmp/a b/x-20260102-030405-mark.sock
ffff8c2: 00000002 00000000 00010000 0001 01 1 @abstract-mark.sock
ffff8c3: 00000002 00000000 00010000 0005 01 7 /proc/self/fd/9/x-20260102-030405-mark.sock
ffff8c4: 00000002 00000000 00010000 0005 01 8 evidence/x-mark.sock
`
	got, err := parseUnix(strings.NewReader(table))
	if want := []string{"/tmp/a b/x-20260102-030405-mark.sock"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("found %q, %v", got, err)
	}
}

func FuzzParseUnix(f *testing.F) {
	f.Add("ffff8c0: 00000002 00000000 00010000 0005 01 31234 /tmp/x-mark.sock\n")
	f.Fuzz(func(t *testing.T, table string) {
		paths, _ := parseUnix(strings.NewReader(table))
		for _, p := range paths {
			if !filepath.IsAbs(p) || !strings.HasSuffix(p, markSocket) {
				t.Errorf("found %q", p)
			}
		}
	})
}

func FuzzParseRemark(f *testing.F) {
	f.Add([]byte(`{"text":"x","drop":"start","called":"2026-01-02T03:04:05Z","called_mono_ns":7}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, packet []byte) {
		r, err := parseRemark(packet)
		if err == nil && (len(r.Text) > maxRemark || r.Drop != "" && r.Drop != timeline.DropStart && r.Drop != timeline.DropEnd) {
			t.Errorf("remark %+v", r)
		}
	})
}
