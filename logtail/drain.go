package logtail

import (
	"fmt"
	"time"
)

// copyAge is how long before the last look at the log a copy may have been
// finished whose truncation is seen now.
const copyAge = 10 * time.Second

// drain hands on what f holds, and no more once left, in bytes, is used up. It
// reads before it asks for the size: mostly there is one chunk, and lines wait
// for nothing. In the end it stops at the size that f has then, or a writer that
// never pauses would keep it for ever.
func (t *tail) drain(f *file, left *int64) error {
	for end := int64(-1); ; {
		fresh, ok, err := f.next(t.buf)
		switch {
		case err != nil:
			t.readTrouble(f, err)
			return nil
		case !ok:
			if err := t.truncated(f); err != nil {
				return err
			}
			end = -1
			continue
		case len(fresh) == 0:
			return nil
		}
		f.trouble = ""
		n := len(fresh)
		more := len(f.mark)+n == len(t.buf)
		if more && end < 0 {
			info, err := f.stat()
			if err != nil {
				t.readTrouble(f, err)
				return nil
			}
			end = info.size
			f.seen = end
		}
		if err := f.split.feed(fresh); err != nil {
			return err
		}
		f.advance(t.buf, n)
		t.save(f)
		*left -= int64(n)
		if t.ending && (!more || f.off >= end) || *left <= 0 {
			return nil
		}
	}
}

// readTrouble notes that f cannot be read, once until the reason changes.
func (t *tail) readTrouble(f *file, err error) {
	if why := err.Error(); f.trouble != why {
		f.trouble = why
		t.note("read inode %d at offset %d: %v", f.info.id.ino, f.off, err)
	}
}

// truncated starts f again at its beginning. If the size that was seen last is
// beyond the position, that much at least is lost.
func (t *tail) truncated(f *file) error {
	end, from, err := t.recover(f)
	if err != nil {
		return err
	}
	if err := f.split.flush(); err != nil {
		return err
	}
	why := fmt.Sprintf("truncated after offset %d was read; what was written after that and before the truncation cannot be known", f.off)
	if from != "" {
		why = fmt.Sprintf("truncated after it was copied; %d bytes were read from the copy %s; what was written between the copy and the truncation cannot be known", end-f.off, from)
	}
	lost := int64(-1)
	if now, err := f.stat(); err == nil && now.size < f.off && f.seen > end {
		lost = f.seen - end // seen before the truncation, never read
	}
	t.gap(lost, why)
	t.note("truncated at offset %d, inode %d", f.off, f.info.id.ino)
	f.restart()
	t.save(f)
	return nil
}

// recover looks for the copy that copytruncate made of f before it emptied f,
// and hands on the bytes behind the position that only the copy still has. A
// copy is a file with a rotated name that begins as f did and has the mark at
// the position. end is where the copy ends, f.off without one.
func (t *tail) recover(f *file) (end int64, from string, err error) {
	end = f.off
	for _, s := range t.siblings() {
		if m, known := t.known.get(s.info); known && !m.copy || s.info.changed.Before(t.seen.Add(-copyAge)) {
			continue
		}
		c, err := openFile(s.path)
		if err != nil {
			continue // renamed or compressed meanwhile
		}
		if f.copied(c) {
			t.known.copied(c.info) // or it would be taken for a file that was rotated away
			reached, ok := end, false
			if from == "" {
				reached, ok, err = t.readCopy(f, c)
			}
			if ok {
				end, from = reached, s.path
			}
		}
		c.close()
		if err != nil {
			return end, from, err
		}
	}
	return end, from, nil
}

// readCopy hands on what c has behind the position of f; ok is false if the
// mark is not there.
func (t *tail) readCopy(f, c *file) (end int64, ok bool, err error) {
	c.off, c.mark = f.off, append(c.mark, f.mark...)
	for {
		fresh, same, err := c.next(t.buf)
		if err != nil || !same {
			return c.off, ok, nil
		}
		ok = true
		if len(fresh) == 0 {
			return c.off, true, nil
		}
		f.split.inode = c.info.id.ino
		n := len(fresh)
		if err := f.split.feed(fresh); err != nil {
			return c.off, true, err
		}
		c.advance(t.buf, n)
	}
}
