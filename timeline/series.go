package timeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
)

// Series reads the segments of a recording as one stream, in memory that does not
// grow with it. What can't be read of one segment is told in Damage, and reading
// goes on in the next.
type Series struct {
	left    []segment
	several bool
	name    string // of the present segment, empty where it is alone
	text    io.Closer
	rd      *Reader // nil where it could not be opened
	bytes   int64   // of text in the segments before
	damage  []Damage
	more    int

	unwritten []byte // read after the last segment
}

// Open opens the recording that path is a file of.
func Open(path string) (*Series, error) {
	list, err := segments(path)
	if err != nil {
		return nil, err
	}
	s := &Series{left: list, several: len(list) > 1}
	if err := s.next(); err != nil && !s.several {
		return nil, fmt.Errorf("open recording: %w", err)
	}
	return s, nil
}

// next goes to the next segment, of which there must be one.
func (s *Series) next() error {
	s.done()
	seg := s.left[0]
	s.left = s.left[1:]
	if s.several {
		s.name = filepath.Base(seg.path)
	}
	text, err := seg.open()
	if err != nil {
		s.hurt(Damage{Why: err.Error()})
		return err
	}
	s.text, s.rd = text, NewReader(text)
	return nil
}

// done closes the present segment and takes what it said of damage.
func (s *Series) done() {
	if s.rd == nil {
		return
	}
	first, more := s.rd.Damage()
	for _, d := range first {
		s.hurt(d)
	}
	s.more += more
	s.bytes += s.rd.offset
	s.text.Close()
	s.rd = nil
}

func (s *Series) hurt(d Damage) {
	if len(s.damage) == maxDamage {
		s.more++
		return
	}
	d.File = s.name
	s.damage = append(s.damage, d)
}

// Next returns the next whole record, or io.EOF at the end.
func (s *Series) Next() (Record, error) {
	for {
		if s.rd != nil {
			r, err := s.rd.Next()
			if err == nil {
				return r, nil
			}
			if !errors.Is(err, io.EOF) {
				s.rd.hurt(s.rd.offset, nil, err.Error())
			}
		}
		switch {
		case len(s.left) > 0:
		case len(s.unwritten) > 0:
			s.done()
			s.text, s.rd, s.unwritten = io.NopCloser(nil), NewReader(bytes.NewReader(s.unwritten)), nil
			continue
		default:
			s.done()
			return Record{}, io.EOF
		}
		_ = s.next() // what can't be opened is told in Damage
	}
}

// Damage returns what was not whole so far: the first 20 places, and how many
// more there are.
func (s *Series) Damage() (first []Damage, more int) {
	first, more = s.damage, s.more
	if s.rd != nil {
		here, hidden := s.rd.Damage()
		first, more = append(slices.Clone(first), here...), more+hidden
	}
	return first, more
}

// Close lets go of the files.
func (s *Series) Close() error {
	s.done()
	s.left = nil
	return nil
}
