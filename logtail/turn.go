package logtail

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// look compares path with the file held for it, and takes up a new one; again is
// true then. The one before is drained again before the new one is read, so
// everything that was written before the turn comes first.
func (t *tail) look() (again bool) {
	now := stampNow()
	info, err := stat(t.path)
	t.blocked = err != nil && !errors.Is(err, fs.ErrNotExist)
	switch {
	case err == nil && t.cur != nil && info.id == t.cur.info.id:
		if t.trouble != "" {
			t.trouble = ""
			t.note("back under its name, inode %d", info.id.ino)
		}
		t.away = false
		t.seen, t.looked = now, time.Now()
		return false
	case errors.Is(err, fs.ErrNotExist):
		t.absent()
		return false
	case err != nil:
		t.complain(fmt.Sprintf("cannot be looked at: %v", err))
		return false
	case !info.regular():
		if t.complain(fmt.Sprintf("it is a %s now", info.kind())) {
			t.watch.took(info)
		}
		return false
	}
	if m, known := t.known.get(info); known && m.held {
		return t.takeBack(info)
	}
	f, err := openFile(t.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true // between two files: look again
	case err != nil:
		t.blocked = true
		t.complain(fmt.Sprintf("cannot be read: %v", err))
		return false
	case t.cur != nil && f.info.id == t.cur.info.id:
		f.close()
		return true
	}
	if m, known := t.known.get(f.info); known && !m.copy {
		f.seek(m.end) // it comes back under a name
	}
	t.turn(f)
	return true
}

// takeBack makes a replaced file that is still held the one at path again. One
// that another tail holds is that one's: it was renamed to another name that
// matches.
func (t *tail) takeBack(info fileInfo) bool {
	i := slices.IndexFunc(t.old, func(f *file) bool { return f.info.same(info) })
	if i < 0 {
		t.absent()
		return false
	}
	f := t.old[i]
	t.old = slices.Delete(t.old, i, i+1)
	t.turn(f)
	return true
}

// turn makes f the file at path.
func (t *tail) turn(f *file) {
	missed := t.missed(f.info)
	if t.watch.missed {
		t.watch.missed = false
		t.gap(-1, "the queue of file events overflowed: a file that came and went under this name meanwhile was not seen")
	}
	t.watch.took(f.info)
	t.trouble, t.away = "", false
	switch {
	case t.cur != nil:
		t.note("rotated: inode %d, before %d", f.info.id.ino, t.cur.info.id.ino)
		t.cur.active = time.Now() // its writer has from now on to reopen
		t.old = append(t.old, t.cur)
	case f.info.same(t.found):
		if !t.begun { // it could not be opened before
			t.begin(f)
		}
		t.note("followed from offset %d, inode %d", f.off, f.info.id.ino)
	default:
		t.note("appeared, inode %d", f.info.id.ino)
	}
	t.old = append(t.old, missed...)
	if f.serial == 0 {
		t.adopt(f)
	}
	t.cur = f
	if len(t.old) == 0 { // else what they still have comes first
		t.save(f)
	}
}

// catchUp accounts for files that events have told of and that were not opened.
func (t *tail) catchUp() (found bool) {
	n := t.watch.created - t.watch.opened
	if n <= 0 || t.blocked {
		return false
	}
	var missed []*file
	if t.trouble != "" { // else turn has looked for them
		missed = t.missed(fileInfo{})
	}
	if len(missed) == 0 {
		t.gap(-1, fmt.Sprintf("%d file(s) came and went under this name before they could be opened", n))
		t.watch.opened = t.watch.created
		return false
	}
	t.old = append(t.old, missed...)
	return true
}

func (t *tail) absent() {
	t.away = true
	if t.cur == nil {
		t.complain("does not exist yet")
		return
	}
	t.complain(fmt.Sprintf("gone from its name; inode %d is read on by its descriptor", t.cur.info.id.ino))
}

// complain notes why path cannot be read, once until the reason changes.
func (t *tail) complain(why string) (changed bool) {
	if t.trouble == why {
		return false
	}
	t.trouble = why
	t.note("%s", why)
	return true
}
