package logtail_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"halfopen/logtail"
)

// FuzzRead checks the splitter against the plainest one, whatever the pieces.
func FuzzRead(f *testing.F) {
	f.Add([]byte("one\ntwo\r\n\nthree"), 1000, 1)
	f.Add([]byte("a line that is longer than the rest\nshort\n"), 8, 3)
	f.Add([]byte("\n\n\n"), 1, 2)
	f.Add([]byte("exactly8\nnine chars\n"), 8, 8)
	f.Add(make([]byte, 300), 10, 7)
	f.Fuzz(func(t *testing.T, data []byte, maxLine, piece int) {
		if maxLine < 1 || piece < 1 {
			return
		}
		var at int64
		rest := data
		err := logtail.Read(&pieces{data: data, n: piece}, maxLine, func(l logtail.Line) error {
			want, after, ended := bytes.Cut(rest, []byte("\n"))
			size := int64(len(rest) - len(after))
			if l.Offset != at || l.Size != size || l.Partial == ended || l.Cut != (len(want) > maxLine) {
				t.Fatalf("line %+v at %d: want size %d, ended %v", l, at, size, ended)
			}
			if !bytes.Equal(l.Bytes, want[:min(len(want), maxLine)]) {
				t.Fatalf("line %q, want %q", l.Bytes, want)
			}
			at, rest = at+size, after
			return nil
		})
		if err != nil || len(rest) > 0 {
			t.Fatalf("left over %q, error %v", rest, err)
		}
	})
}

// pieces gives n bytes at a time.
type pieces struct {
	data []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(p.n, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

func TestReadErrors(t *testing.T) {
	broken := errors.New("broken")
	var lines []string
	keep := func(l logtail.Line) error { lines = append(lines, string(l.Bytes)); return nil }
	err := logtail.Read(io.MultiReader(strings.NewReader("one\ntw"), iotest.ErrReader(broken)), 0, keep)
	if !errors.Is(err, broken) || strings.Join(lines, " ") != "one tw" {
		t.Errorf("Read: %v, lines %q", err, lines)
	}
	err = logtail.Read(strings.NewReader("one\ntwo\n"), 0, func(logtail.Line) error { return broken })
	if err != broken {
		t.Errorf("Read with a handler that fails: %v", err)
	}
}

// A file of zeros has no line: it must neither fill the memory nor be lost.
func TestFollowZeros(t *testing.T) {
	const size = 256 << 20
	path := filepath.Join(t.TempDir(), "zeros.log")
	write(t, path, "")
	must(t, os.Truncate(path, size)) // sparse
	f := follow(t, logtail.Config{Path: path, Poll: never, From: logtail.FromBeginning}).ready()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	write(t, path, "\nnext\n")
	l := f.line()
	if !l.Cut || l.Partial || l.Size != size+1 || len(l.Bytes) != 1<<20 || l.Offset != 0 {
		t.Errorf("line of zeros: %d bytes, size %d, cut %v, partial %v", len(l.Bytes), l.Size, l.Cut, l.Partial)
	}
	if l := f.line(); string(l.Bytes) != "next" || l.Offset != size+1 {
		t.Errorf("line after it: %q at %d", l.Bytes, l.Offset)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("%d bytes were allocated for a line of at most %d", used, 1<<20)
	}
	f.complete()
}

func TestFollowMaxLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.log")
	write(t, path, "")
	f := follow(t, logtail.Config{Path: path, Poll: never, MaxLine: 4}).ready()
	write(t, path, "four\nfiver\n")
	write(t, path, "sixsix")
	f.want("four", "five")
	write(t, path, "sixsix\n1\n")
	l := f.line()
	if string(l.Bytes) != "sixs" || !l.Cut || l.Size != 13 || l.Offset != 11 {
		t.Errorf("cut line: %q %+v", l.Bytes, l)
	}
	f.want("1")
	f.complete()
}
