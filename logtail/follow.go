package logtail

import (
	"fmt"
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

// over reports whether the file at path was deleted and is idle for so long that
// its writer must have let go of it. One that was renamed may be written to.
func (t *tail) over() bool {
	switch {
	case !t.away || len(t.old) > 0:
		return false
	case t.cur == nil:
		return true
	case !t.idle(t.cur):
		return false
	}
	return t.cur.deleted()
}

// adopt makes f a file that is read.
func (t *tail) adopt(f *file) {
	f.split = splitter{max: t.cfg.MaxLine, line: t.h.Line, file: t.name, inode: f.info.id.ino, start: f.off}
	t.adopted++
	f.serial = t.adopted
	t.known.hold(f.info)
}

// release lets go of replaced files that have been idle long enough. The one
// replaced last stays: a writer that was never told to reopen goes on there.
func (t *tail) release() error {
	kept := t.old[:0]
	for i, f := range t.old {
		f.settled = false // all that it had is read: what comes now is new
		idle, last := t.idle(f), i == len(t.old)-1
		if len(t.old)-i <= maxOld && (!idle || last && !t.away && !f.deleted()) {
			kept = append(kept, f)
		} else {
			t.closeFile(f)
			idle = true
		}
		if !idle {
			continue
		}
		if err := f.split.flush(); err != nil {
			t.old = append(kept, t.old[i+1:]...)
			return err
		}
	}
	t.old = kept
	return nil
}

// idle reports whether f gave nothing for so long that its writer must have let
// go of it, or seldom writes.
func (t *tail) idle(f *file) bool { return time.Since(f.active) >= lingerTicks*t.cfg.Poll }

func (t *tail) note(format string, args ...any) {
	t.h.Note(t.name + ": " + fmt.Sprintf(format, args...))
}

func (t *tail) gap(bytes int64, why string) {
	t.h.Gap(Gap{File: t.name, Bytes: bytes, Why: why})
}
