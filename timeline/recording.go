package timeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Recording is a recording in memory.
type Recording struct {
	Path string
	// Records are in the order of the file, the header among them. Where there are
	// several segments, what the later ones only repeat is left out.
	Records []Record
	Damage  []Damage // the first 20
	More    int      // damaged lines beyond those
	Holes   []Hole
	Older   int // segments, or snapshots of a series, that were not loaded: the recording is too big for memory
	Gone    int // snapshots of a series that were removed while it was read
	// Unread are the timelines beside a series' snapshots that may be of it, too: they
	// have no header that can be read.
	Unread []string

	last uint64 // number of the last record, kept or not
	told bool   // there is more than headers and repetitions
}

// Hole is a jump in the records' numbers.
type Hole struct {
	After   uint64 `json:"after"` // number of the last record before it
	Missing uint64 `json:"missing"`
}

// maxLoad is how much text of a recording in several segments is loaded, the
// newest first: a recording of weeks must not take all memory. A segment is loaded
// as a whole.
const maxLoad = 256 << 20

// Load reads the recording that path is a file of. Damage is no error; a
// recording without a single whole header is.
func Load(path string) (*Recording, error) { return LoadWith(path, nil) }

// LoadWith is Load for a recording whose last lines are not on the disk.
func LoadWith(path string, unwritten []byte) (*Recording, error) {
	return load(path, unwritten, maxLoad)
}

func load(path string, unwritten []byte, most int64) (*Recording, error) {
	if series, unread := snapshotsOf(path); len(series) > 0 {
		return loadSeries(path, series, unread, most)
	}
	list, err := segments(path)
	if err != nil {
		return nil, err
	}
	rec := &Recording{Path: path}
	last, err := rec.drain(NewReader(bytes.NewReader(unwritten)))
	if err != nil {
		return nil, err
	}
	parts := [][]Record{last} // newest first
	var size int64
	for i, seg := range slices.Backward(list) {
		if size >= most {
			rec.Older = i + 1
			break
		}
		s := &Series{left: []segment{seg}, several: len(list) > 1}
		if err := s.next(); err != nil && !s.several {
			return nil, fmt.Errorf("open recording: %w", err)
		}
		part, err := rec.drain(s)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		size += s.bytes
	}
	for i, part := range slices.Backward(parts) {
		for _, r := range part {
			rec.add(r)
		}
		parts[i] = nil
	}
	if err := rec.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rec, nil
}

// ReadAll reads a whole recording from r.
func ReadAll(r io.Reader) (*Recording, error) {
	rec := &Recording{}
	all, err := rec.drain(NewReader(r))
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		rec.add(k)
	}
	return rec, rec.check()
}

// drain reads all that is left, and notes the damage.
func (rec *Recording) drain(s interface {
	Next() (Record, error)
	Damage() ([]Damage, int)
}) (all []Record, err error) {
	for {
		r, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	damage, more := s.Damage()
	rec.Damage, rec.More = append(damage, rec.Damage...), rec.More+more
	if n := len(rec.Damage); n > maxDamage {
		rec.Damage, rec.More = rec.Damage[:maxDamage], rec.More+n-maxDamage
	}
	return all, nil
}

// add takes the next record in order.
func (rec *Recording) add(r Record) {
	if rec.last != 0 && r.N > rec.last+1 {
		rec.Holes = append(rec.Holes, Hole{After: rec.last, Missing: r.N - rec.last - 1})
	}
	rec.last = r.N
	repeats := r.Again || r.Header != nil && r.Header.Segment > 1
	if repeats && rec.told {
		return
	}
	rec.told = rec.told || !repeats && r.Header == nil
	rec.Records = append(rec.Records, r)
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

// Header returns the first header, nil if there is none.
func (rec *Recording) Header() *Header {
	for _, r := range rec.Records {
		if r.Header != nil {
			return r.Header
		}
	}
	return nil
}

// End returns the last record's End, nil where the recording was cut short.
func (rec *Recording) End() *End {
	if len(rec.Records) == 0 {
		return nil
	}
	return rec.Records[len(rec.Records)-1].End
}

// ErrNoHeader is returned for a file without a whole header of a format that this
// program reads.
var ErrNoHeader = errors.New("not a recording of halfopen")

// ErrNewer is returned for a recording in a format that only a newer program
// reads.
var ErrNewer = errors.New("the recording is of a newer halfopen")
