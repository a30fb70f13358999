package logtail

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

const (
	maxOld = 8 // descriptors of replaced files held at once

	// turn is how much of a tail is read before others, and the names of the
	// files, are looked at again, in bytes.
	turnSize = 4 << 20
)

// tail follows one name.
type tail struct {
	*group
	name string // as in the lines
	path string // absolute
	from Start

	cur     *file     // nil until the name exists
	old     []*file   // replaced, perhaps still written to; oldest first
	found   fileInfo  // the file at path when following began
	begun   bool      // its position is set
	late    bool      // its name came to match while others were followed: all of it is new
	seen    time.Time // when path was last known to name cur, or following began, as files are stamped
	looked  time.Time // the same moment, by the monotonic clock
	adopted int       // files so far
	reached int       // serial of the file that the saved position is in
	stale   bool      // path may name another file than when it was last looked at
	trouble string    // why cur is not at path; empty while it is
	blocked bool      // there is a file at path, but it cannot be opened or looked at
	away    bool      // nothing, or the file of another tail, is at path
	watch   *watcher
}

// follow begins to follow a path.
func (g *group) follow(name, path string, from Start) error {
	t := &tail{group: g, name: name, path: path, from: from, watch: newWatcher(path, g.hub)}
	if g.glob != nil && g.glob.begun {
		t.late, t.seen, t.looked = true, g.glob.seen, g.glob.looked
	}
	g.tails[t.watch], g.paths[path] = t, t
	t.watch.arm()
	t.wake(true)
	return t.start()
}

// wake has t read in the next turn; names says that path may name another file.
func (t *tail) wake(names bool) {
	t.dirty[t] = true
	t.stale = t.stale || names
}

func (t *tail) close() {
	for _, f := range t.files() {
		f.close()
	}
}

func (t *tail) closeFile(f *file) {
	f.close()
	t.known.release(f)
}

// files are the held files in the order of reading.
func (t *tail) files() []*file {
	if t.cur == nil {
		return t.old
	}
	return append(t.old[:len(t.old):len(t.old)], t.cur)
}

// finish reads what is there once more, until a moment at most, and hands on
// unfinished lines.
func (t *tail) finish(until time.Time) error {
	for more := true; more; {
		var err error
		if more, err = t.pass(chunkSize); err != nil {
			return err
		}
		if more && time.Now().After(until) {
			t.unread()
			break
		}
	}
	return t.flush()
}

// unread tells what following left when it ended.
func (t *tail) unread() {
	for _, f := range t.files() {
		if info, err := f.stat(); err == nil && info.size > f.off {
			t.gap(info.size-f.off, fmt.Sprintf("following ended %d bytes before the end of inode %d", info.size-f.off, f.info.id.ino))
		}
	}
}

// flush hands on the unfinished lines.
func (t *tail) flush() error {
	for _, f := range t.files() {
		if err := f.split.flush(); err != nil {
			return err
		}
	}
	return nil
}

// pass reads what there is, taking up each new file at path. more is true if
// it stopped before the end, after some bytes, to give others a turn.
func (t *tail) pass(bytes int64) (more bool, err error) {
	for again := true; again; {
		left := bytes
		for _, f := range t.files() {
			if err := t.drain(f, &left); err != nil {
				return false, err
			}
			if left <= 0 {
				// A file that rotates away meanwhile is held as long as there is
				// room; later ones are looked for when all of this is read.
				if len(t.old) < maxOld {
					t.look()
				}
				return true, nil
			}
			if f.settled && f != t.cur {
				if err := f.split.flush(); err != nil {
					return false, err
				}
			}
		}
		again = (t.stale || t.ending || t.trouble != "") && (t.look() || t.catchUp())
	}
	t.stale, t.watch.missed = false, false
	return false, t.release()
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

// over reports whether the file at path was deleted and is idle for so long that
// its writer must have let go of it. One that was renamed may be written to.
func (t *tail) over() bool {
	switch {
	case !t.away || len(t.old) > 0:
		return false
	case t.cur == nil:
		return true
	case time.Since(t.cur.active) < lingerTicks*t.cfg.Poll:
		return false
	}
	info, err := t.cur.stat()
	return err == nil && info.names == 0
}

// adopt makes f a file that is read.
func (t *tail) adopt(f *file) {
	f.split = splitter{max: t.cfg.MaxLine, line: t.h.Line, file: t.name, inode: f.info.id.ino, start: f.off}
	t.adopted++
	f.serial = t.adopted
	t.known.hold(f.info)
}

// release lets go of replaced files that have been idle long enough.
func (t *tail) release() error {
	kept := t.old[:0]
	for i, f := range t.old {
		if len(t.old)-i <= maxOld && time.Since(f.active) < lingerTicks*t.cfg.Poll {
			kept = append(kept, f)
			continue
		}
		t.closeFile(f)
		if err := f.split.flush(); err != nil {
			t.old = append(kept, t.old[i+1:]...)
			return err
		}
	}
	t.old = kept
	return nil
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

func (t *tail) note(format string, args ...any) {
	t.h.Note(t.name + ": " + fmt.Sprintf(format, args...))
}

func (t *tail) gap(bytes int64, why string) {
	t.h.Gap(Gap{File: t.name, Bytes: bytes, Why: why})
}
