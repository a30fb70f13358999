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
	Line   int    `json:"line"` // from 1
	Offset int64  `json:"offset_bytes"`
	Text   string `json:"text"` // the line's first bytes
	Why    string `json:"why"`
}

func (d Damage) String() string {
	return fmt.Sprintf("line %d, byte %d: %s: %q", d.Line, d.Offset, d.Why, d.Text)
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

// Recording is a whole recording in memory.
type Recording struct {
	Path    string
	Records []Record // in the order of the file, the header among them
	Damage  []Damage // the first 20
	More    int      // damaged lines beyond those
	Holes   []Hole
}

// Hole is a jump in the records' numbers.
type Hole struct {
	After   uint64 `json:"after"` // number of the last record before it
	Missing uint64 `json:"missing"`
}

// Load reads the recording at path. Damage is no error; a file without a single
// whole record is.
func Load(path string) (*Recording, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	defer f.Close()
	rec, err := ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	rec.Path = path
	return rec, nil
}

// ErrNoHeader is returned for a file whose first whole record is no header of a
// format that this program reads.
var ErrNoHeader = errors.New("not a recording of halfopen")

// ErrNewer is returned for a recording in a format that only a newer program
// reads.
var ErrNewer = errors.New("the recording is of a newer halfopen")

// ReadAll reads a whole recording from r.
func ReadAll(r io.Reader) (*Recording, error) {
	rd := NewReader(r)
	rec := &Recording{}
	for {
		next, err := rd.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if n := len(rec.Records); n > 0 {
			if last := rec.Records[n-1].N; next.N > last+1 {
				rec.Holes = append(rec.Holes, Hole{After: last, Missing: next.N - last - 1})
			}
		}
		rec.Records = append(rec.Records, next)
	}
	rec.Damage, rec.More = rd.Damage()
	return rec, rec.check()
}

func (rec *Recording) check() error {
	switch h := rec.Header(); {
	case h == nil && len(rec.Damage) > 0:
		return fmt.Errorf("%w: %s", ErrNoHeader, rec.Damage[0])
	case h == nil:
		return fmt.Errorf("%w: it has no header", ErrNoHeader)
	case h.Format < 1:
		return fmt.Errorf("%w: its format is %d", ErrNoHeader, h.Format)
	case h.Format > Format:
		return fmt.Errorf("%w: its format is %d, this one reads up to %d: use that one", ErrNewer, h.Format, Format)
	}
	return nil
}

// Header returns the first record's header, nil if it has none.
func (rec *Recording) Header() *Header {
	if len(rec.Records) == 0 {
		return nil
	}
	return rec.Records[0].Header
}

// End returns the last record's End, nil where the recording was cut short.
func (rec *Recording) End() *End {
	if len(rec.Records) == 0 {
		return nil
	}
	return rec.Records[len(rec.Records)-1].End
}
