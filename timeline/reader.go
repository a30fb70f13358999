package timeline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds what a hostile file can make the Reader hold in memory.
const maxLine = 16 << 20

// Damage is a line that is not a whole record. Reading goes on behind it.
type Damage struct {
	File   string `json:"file,omitempty"` // without folder, where the recording has several
	Line   int    `json:"line"`           // from 1
	Offset int64  `json:"offset_bytes"`
	Text   string `json:"text"` // the line's first bytes
	Why    string `json:"why"`
}

func (d Damage) String() string {
	at := fmt.Sprintf("line %d, byte %d: %s: %q", d.Line, d.Offset, d.Why, d.Text)
	if d.File != "" {
		return d.File + ", " + at
	}
	return at
}

// maxDamage is how many damaged lines are described; of the others only their
// number is kept.
const maxDamage = 20

// Reader reads a recording record by record. Whatever was cut or flipped, it
// yields every whole record and tells of the rest in Damage.
type Reader struct {
	in     *bufio.Reader
	line   int
	offset int64
	damage []Damage
	more   int
}

// NewReader reads the recording in r.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 64<<10)}
}

// Next returns the next whole record, io.EOF at the end, or the error of the
// reading itself.
func (r *Reader) Next() (Record, error) {
	for {
		at := r.offset
		line, whole, err := r.readLine()
		if err != nil {
			return Record{}, err
		}
		if line == nil {
			return Record{}, io.EOF
		}
		if !whole {
			r.hurt(at, line, "the last line has no end: the recorder was killed or the file was cut")
			continue
		}
		rec, err := decode(line)
		if err != nil {
			r.hurt(at, line, err.Error())
			continue
		}
		return rec, nil
	}
}

// Damage returns what was not whole among the lines read so far: the first 20
// such lines, and how many more there were.
func (r *Reader) Damage() (first []Damage, more int) { return r.damage, r.more }

func (r *Reader) hurt(at int64, line []byte, why string) {
	if len(r.damage) == maxDamage {
		r.more++
		return
	}
	const quoted = 80
	r.damage = append(r.damage, Damage{Line: r.line, Offset: at, Text: string(line[:min(len(line), quoted)]), Why: why})
}

// readLine returns a line without its newline, nil at the end of the file. Of a
// line longer than maxLine it keeps the beginning and skips the rest.
func (r *Reader) readLine() (line []byte, whole bool, err error) {
	for {
		part, err := r.in.ReadSlice('\n')
		r.offset += int64(len(part))
		if keep := maxLine - len(line); keep > 0 {
			line = append(line, part[:min(len(part), keep)]...)
		}
		switch {
		case err == nil:
			r.line++
			return bytes.TrimSuffix(line, []byte("\n")), true, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			if len(line) > 0 {
				r.line++
			}
			return line, false, nil
		default:
			return nil, false, fmt.Errorf("read recording: %w", err)
		}
	}
}
