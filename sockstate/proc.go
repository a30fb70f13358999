package sockstate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"halfopen/flow"
)

// BadLine is a line of a socket table that is not a row as the kernel writes it.
type BadLine struct {
	Table string `json:"table,omitempty"` // "tcp" or "tcp6", where ReadProc read it
	Line  int    `json:"line"`            // counted from 1, header included
	Text  string `json:"text"`            // as it was, cut after badTextMax bytes
	Why   string `json:"why"`
}

// String gives position, reason and the quoted text.
func (b BadLine) String() string { return fmt.Sprintf("%s:%d: %s: %q", b.Table, b.Line, b.Why, b.Text) }

const (
	badTextMax = 200
	lineMax    = 16 << 10 // a row has some 170 bytes
)

// ParseProc reads text as in /proc/net/tcp or tcp6, or both one after the other,
// and appends the sockets whose flow is wanted to dst; a nil keep wants all. A
// line that is not a row is returned as such, and reading goes on; err is of r
// alone. Rows that keep refuses are not looked at beyond their addresses.
func ParseProc(r io.Reader, keep func(flow.Flow) bool, dst []Socket) (socks []Socket, bad []BadLine, err error) {
	lines := lineReader{r: bufio.NewReaderSize(r, lineMax)}
	var cols slab
	if keep == nil {
		dst = slices.Grow(dst, rowsIn(r)) // growing costs as much as parsing
	}
	for lines.next() {
		if lines.why != "" {
			bad = append(bad, lines.bad(lines.why))
			continue
		}
		if isHeader(lines.text) {
			continue
		}
		c := cursor{line: lines.text}
		f := c.flow()
		if c.why == "" && keep != nil && !keep(f) {
			continue
		}
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, max(len(dst), 8)) // append alone would copy a large table five times over
		}
		dst = append(dst, Socket{Flow: f})
		s := &dst[len(dst)-1]
		c.columns(s, cols.next())
		if c.why != "" {
			dst = dst[:len(dst)-1]
			bad = append(bad, lines.bad(c.why))
			continue
		}
		if s.Proc != nil {
			cols.take()
		}
	}
	return dst, bad, lines.err
}

const (
	// rowLen is the length of most rows: the kernel pads them
	// (net/ipv4/tcp_ipv4.c, TMPSZ), those of tcp6 are longer.
	rowLen = 150
	// roomMax bounds what is set aside on the word of a file's size, to 16 MiB.
	roomMax = 1 << 17
)

// rowsIn is how many rows a regular file has room for, 0 where its size says
// nothing: the files in /proc are all of size 0.
func rowsIn(r io.Reader) int {
	f, ok := r.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return 0
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return int(min(info.Size()/rowLen, roomMax))
}

// lineReader cuts text into lines without copying them.
type lineReader struct {
	r    *bufio.Reader
	text []byte // without its end, valid until next
	n    int
	why  string // what is wrong with the line as such
	err  error
}

func (l *lineReader) next() bool {
	if l.err != nil {
		return false
	}
	text, err := l.r.ReadSlice('\n')
	l.why = ""
	switch {
	case err == nil:
		text = text[:len(text)-1]
	case errors.Is(err, bufio.ErrBufferFull):
		l.why = "line too long"
		text = append([]byte(nil), text[:badTextMax]...)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.r.ReadSlice('\n')
		}
	case len(text) > 0:
		// The kernel ends every row: what follows could be missing digits.
		l.why = "cut off: no end of line"
	}
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = fmt.Errorf("read socket table: %w", err)
	}
	l.text = text
	l.n++
	return err == nil || len(text) > 0
}

func (l *lineReader) bad(why string) BadLine {
	return BadLine{Line: l.n, Text: string(l.text[:min(len(l.text), badTextMax)]), Why: why}
}

func isHeader(line []byte) bool {
	c := cursor{line: line}
	c.spaces()
	return bytes.HasPrefix(c.line[c.i:], []byte("sl"))
}

// slab hands out ProcCols from blocks: one allocation for many rows.
type slab struct{ free []ProcCols }

func (s *slab) next() *ProcCols {
	if len(s.free) == 0 {
		s.free = make([]ProcCols, 64)
	}
	return &s.free[0]
}

func (s *slab) take() { s.free = s.free[1:] }
