package logtail

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// start finds where reading begins.
func (t *tail) start() error {
	var err error
	if t.found, err = stat(t.path); err == nil && !t.found.regular() {
		return fmt.Errorf("follow %q: it is a %s; only regular files can be followed", t.name, t.found.kind())
	}
	if t.looked.IsZero() {
		t.seen, t.looked = stampNow(), time.Now()
	}
	earlier := t.siblings()
	f, err := openFile(t.path)
	if err == nil {
		t.found = f.info
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		t.begin(f)
	}
	// What had been rotated away before is not read; a clock that is set back
	// would make it look new.
	for _, s := range earlier {
		if !t.known.knows(s.info) && !(t.late && !s.info.born.Before(t.lastLook())) {
			t.known.ignore(s.info)
		}
	}
	if err == nil {
		t.turn(f)
	}
	return nil
}

// begin sets the position in the file that was there when following began, nil
// if there was none, and takes up rotated files that come before it.
func (t *tail) begin(f *file) {
	t.begun = true
	switch from := t.cfg.Positions.start(t.path, t.found, t.from).(type) {
	case Position:
		if f == nil || f.info.id.ino != from.Inode || !f.fits(from) {
			t.resume(from)
		}
	case LastLines:
		t.lastLines(f, int(from))
	case LastDuration:
		t.lastDuration(f, time.Now().Add(-time.Duration(from)))
	case Whence:
		if f != nil && from == FromNow {
			f.seek(f.lineStart(t.found.size, t.buf))
		}
	}
}

// resume continues in the file that has left the name since, or in the copy
// that copytruncate made of it, and in those that had the name after it.
func (t *tail) resume(from Position) {
	f, copied := t.rotatedAway(from)
	if f == nil {
		t.gap(-1, fmt.Sprintf("what was read before, inode %d up to offset %d, is not there any more; what came after it was not read", from.Inode, from.Offset))
		return
	}
	t.takeOld(f)
	t.old = append(t.old, f)
	if copied {
		t.gap(-1, fmt.Sprintf("truncated after it was copied to %s; what was written between the copy and the truncation cannot be known", f.path))
	}
	t.old = append(t.old, t.openBorn(func(i fileInfo) bool {
		return i.born.After(f.info.born) && !i.same(t.found)
	})...)
}

// rotatedAway finds the file of a position beside the log: by its inode, else,
// where the mark is long enough to tell, by that.
func (t *tail) rotatedAway(from Position) (f *file, copied bool) {
	beside := t.siblings()
	for _, copied := range []bool{false, true} {
		if copied && from.Mark.Bytes < tellingMark {
			break
		}
		for _, s := range beside {
			if s.info.id.ino != from.Inode && !copied {
				continue
			}
			f, err := openFile(s.path)
			if err != nil {
				continue
			}
			if f.fits(from) {
				return f, copied
			}
			f.close()
		}
	}
	return nil, false
}

// lastLines begins n lines before the end, of which f has the last.
func (t *tail) lastLines(f *file, n int) {
	if f != nil {
		var off int64
		off, n = f.back(f.lineStart(t.found.size, t.buf), n, t.buf)
		f.seek(off)
	}
	t.history(func(f *file) (more bool) {
		end := f.lineStart(f.info.size, t.buf)
		if end < f.info.size {
			n-- // its unfinished line
		}
		off, left := f.back(end, n, t.buf)
		f.seek(off)
		n = left
		return n > 0
	}, n > 0)
}

// lastDuration begins at the first line that is not older than since.
func (t *tail) lastDuration(f *file, since time.Time) {
	more := true
	if f != nil {
		more = t.seekTime(f, f.lineStart(t.found.size, t.buf), since)
	}
	t.history(func(f *file) bool {
		return !f.info.written.Before(since) && t.seekTime(f, f.info.size, since)
	}, more)
}

// history takes up rotated files, the newest first, while there are more.
// place sets the position in one; more is false if none before it is wanted.
func (t *tail) history(place func(f *file) (more bool), more bool) {
	beside := t.siblings()
	slices.SortFunc(beside, func(a, b sibling) int { return b.info.written.Compare(a.info.written) })
	for _, s := range beside {
		if !more || len(t.old) == maxMissed {
			return
		}
		if m, known := t.known.get(s.info); known && m.held {
			continue // it is followed by its own name
		}
		f, err := openFile(s.path)
		if err != nil {
			t.note("cannot read what was rotated away: %v", err)
			continue
		}
		if more = place(f); f.off == f.info.size {
			f.close()
			continue
		}
		t.takeOld(f)
		t.old = slices.Insert(t.old, 0, f)
		t.note("also read: %s from offset %d", s.path, f.off)
	}
}

// takeOld adopts a file that was rotated away before.
func (t *tail) takeOld(f *file) {
	t.adopt(f)
	f.settled = time.Since(f.info.written) > lingerTicks*t.cfg.Poll
}
