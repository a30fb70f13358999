package logtail

import (
	"bytes"
	"time"
)

// untimed is how far before the end reading begins at most where lines carry
// no time, and over how much a line with a time is looked for, in bytes.
const untimed = 1 << 20

// noLine is a stretch without a newline that is no line of a log, in bytes.
const noLine = 16 << 20

// back finds where the n-th last line before end begins, which is where a line
// ends. left is how many lines are missing: the file has fewer.
func (f *file) back(end int64, n int, buf []byte) (off int64, left int) {
	if n <= 0 {
		return end, 0
	}
	n++ // the newline at end counts too
	last := end
	for end > 0 && last-end < noLine {
		from := max(0, end-int64(len(buf)))
		got, err := f.pread(buf[:end-from], from)
		if err != nil || int64(got) < end-from {
			return end, 0 // truncated meanwhile: no more than was seen
		}
		b := buf[:got]
		for {
			i := bytes.LastIndexByte(b, '\n')
			if i < 0 {
				break
			}
			last = from + int64(i) + 1
			if n--; n == 0 {
				return last, 0
			}
			b = b[:i]
		}
		end = from
	}
	if end > 0 {
		return last, 0
	}
	return 0, n - 1
}

// seekTime moves f to the first line before end that is not older than since,
// by the times that lines carry; they are taken to grow. whole is true if that
// is the first of all, so that a file before may have more.
func (t *tail) seekTime(f *file, end int64, since time.Time) (whole bool) {
	older, younger, found := int64(-1), end, false
	for step := int64(len(t.buf)); older < 0 && younger > 0; step *= 2 {
		at := max(0, end-step)
		when, ok := t.timeAt(f, at, end)
		found = found || ok
		if ok && when.Before(since) {
			older = at
		} else {
			younger = at
		}
	}
	switch {
	case !found:
		t.untimed(f, end)
		return false
	case older < 0:
		f.seek(0)
		return true
	}
	for younger-older > int64(len(t.buf)) {
		mid := older + (younger-older)/2
		if when, ok := t.timeAt(f, mid, end); ok && when.Before(since) {
			older = mid
		} else {
			younger = mid
		}
	}
	place := end
	f.lines(older, end, t.buf, func(at int64, line []byte) bool {
		when, ok := t.lineTime(line)
		if ok && !when.Before(since) {
			place = at
			return false
		}
		return true
	})
	f.seek(place)
	return false
}

// untimed begins not far before the end of a file without times.
func (t *tail) untimed(f *file, end int64) {
	off := int64(0)
	if end > untimed {
		off = f.lineStart(end-untimed, t.buf)
	}
	if end > 0 {
		t.note("its lines carry no time: the last %d bytes are read", end-off)
	}
	f.seek(off)
}

// timeAt finds the time of the first line that begins behind off, before end,
// and carries one. It looks over untimed bytes.
func (t *tail) timeAt(f *file, off, end int64) (when time.Time, ok bool) {
	f.lines(off, min(end, off+untimed), t.buf, func(_ int64, line []byte) bool {
		when, ok = t.lineTime(line)
		return !ok
	})
	return when, ok
}

// lines calls fn for each line that begins behind off, or at 0, and ends before
// end, until fn returns false. A line longer than buf is given once, cut.
func (f *file) lines(off, end int64, buf []byte, fn func(at int64, line []byte) bool) {
	for skip := off > 0; off < end; {
		n, err := f.pread(buf[:min(int64(len(buf)), end-off)], off)
		if err != nil {
			return
		}
		used := 0
		for {
			i := bytes.IndexByte(buf[used:n], '\n')
			if i < 0 {
				break
			}
			if !skip && !fn(off+int64(used), buf[used:used+i]) {
				return
			}
			skip = false
			used += i + 1
		}
		if used == 0 {
			if n < len(buf) || !skip && !fn(off, buf) {
				return
			}
			skip, used = true, n
		}
		off += int64(used)
	}
}

// lineTime gives the time that a line carries.
func (t *tail) lineTime(line []byte) (time.Time, bool) {
	format := t.cfg.Format
	if format == "" {
		format = Detect(line)
	}
	e, err := format.Parse(line)
	if err != nil || e.Time.IsZero() {
		return time.Time{}, false
	}
	return e.in(time.Local), true
}
