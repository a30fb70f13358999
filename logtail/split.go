package logtail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// chunkSize is how much is read at once, in bytes. It fits the second-level
// cache, so that a line is still there when its newline has been found.
const chunkSize = 256 << 10

// keepHeld is the most memory a splitter keeps between two long lines.
const keepHeld = 64 << 10

// splitter cuts chunks into lines. Lines that lie whole in a chunk are handed
// on from it without a copy; only the one that crosses its end is kept.
type splitter struct {
	max   int
	line  func(Line) error
	file  string
	inode uint64

	start int64  // offset of the unfinished line's first byte
	size  int64  // bytes of it so far
	held  []byte // the first of them, at most max
}

// feed takes the next bytes of the file.
func (s *splitter) feed(p []byte) error {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.hold(p)
			return nil
		}
		b, size := p[:i:i], int64(i+1)
		if s.size > 0 {
			s.hold(b)
			b, size = s.held, s.size+1
		}
		if err := s.emit(b, size, false); err != nil {
			return err
		}
		p = p[i+1:]
	}
	return nil
}

// flush hands on the unfinished line, if there is one.
func (s *splitter) flush() error {
	if s.size == 0 {
		return nil
	}
	return s.emit(s.held, s.size, true)
}

// rewind starts anew at offset, without an unfinished line.
func (s *splitter) rewind(offset int64) {
	s.start, s.size, s.held = offset, 0, s.held[:0]
}

func (s *splitter) hold(p []byte) {
	s.size += int64(len(p))
	s.held = append(s.held, p[:min(len(p), s.max-len(s.held))]...)
}

func (s *splitter) emit(b []byte, size int64, partial bool) error {
	content := size
	if !partial {
		content--
	}
	l := Line{
		File: s.file, Offset: s.start, Inode: s.inode, Bytes: b[:min(len(b), s.max)],
		Size: size, Cut: content > int64(s.max), Partial: partial,
	}
	s.start, s.size = s.start+size, 0
	if cap(s.held) > keepHeld {
		s.held = nil
	} else {
		s.held = s.held[:0]
	}
	return s.line(l)
}

// Read hands on the lines of r, with offsets counted from 0 and neither file
// name nor inode. maxLine is Config.MaxLine, 1 MiB if 0 or less. It returns the
// first error of r or fn; the bytes before a read error are handed on.
func Read(r io.Reader, maxLine int, fn func(Line) error) error {
	if maxLine <= 0 {
		maxLine = defaultMaxLine
	}
	s := splitter{max: maxLine, line: fn}
	buf := make([]byte, chunkSize)
	for {
		n, err := r.Read(buf)
		if err := s.feed(buf[:n]); err != nil {
			return err
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return s.flush()
		default:
			if err := s.flush(); err != nil {
				return err
			}
			return fmt.Errorf("read lines: %w", err)
		}
	}
}
