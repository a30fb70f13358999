package logtail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

const (
	maxOld   = 8   // descriptors of replaced files held at once
	maxKnown = 128 // files remembered as read, and as many as copies
)

// tail follows one name.
type tail struct {
	cfg  Config
	h    Handler
	path string // absolute
	buf  []byte // mark and chunk

	cur     *file      // nil until the name exists
	old     []*file    // replaced, perhaps still written to; oldest first
	known   []fileInfo // the files read last, so that none is read twice
	copies  []fileInfo // the copies of them that were seen last, for the same
	found   fileInfo   // the file at path when Follow started
	seen    time.Time  // when path was last known to name cur, or Follow began, as files are stamped
	trouble string     // why cur is not at path; empty while it is
	watch   *watcher
}

func (t *tail) close() {
	for _, f := range t.files() {
		f.close()
	}
	t.watch.close()
}

// files are the held files in the order of reading.
func (t *tail) files() []*file {
	if t.cur == nil {
		return t.old
	}
	return append(t.old[:len(t.old):len(t.old)], t.cur)
}

func (t *tail) run(ctx context.Context) error {
	t.watch.arm()
	if err := t.start(); err != nil {
		return err
	}
	tick := time.NewTicker(t.cfg.Poll)
	defer tick.Stop()
	for {
		if err := t.pass(); err != nil {
			return err
		}
		if !t.watch.wait(ctx, tick.C) {
			return t.finish()
		}
	}
}

// finish reads what is there once more and hands on unfinished lines.
func (t *tail) finish() error {
	if err := t.pass(); err != nil {
		return err
	}
	for _, f := range t.files() {
		if err := f.split.flush(); err != nil {
			return err
		}
	}
	return nil
}

// pass reads everything there is, taking up each new file at path.
func (t *tail) pass() error {
	for more := true; more; {
		for _, f := range t.files() {
			if err := t.drain(f); err != nil {
				return err
			}
		}
		more = t.look() || t.catchUp()
	}
	return t.release()
}

// catchUp accounts for files that events have told of and that were not opened.
func (t *tail) catchUp() (found bool) {
	n := t.watch.created - t.watch.opened
	if n <= 0 {
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

// look compares path with the file held for it, and takes up a new one. The
// one before is drained again before the new one is read, so everything that
// was written before the turn comes first.
func (t *tail) look() (turned bool) {
	now := stampNow()
	info, err := stat(t.path)
	switch {
	case err == nil && t.cur != nil && info.id == t.cur.info.id:
		if t.trouble != "" {
			t.trouble = ""
			t.note("back under its name, inode %d", info.id.ino)
		}
		t.seen = now
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
	f, err := openFile(t.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false // between two files: the next one has its event
	case err != nil:
		t.complain(fmt.Sprintf("cannot be read: %v", err))
		return false
	case t.cur != nil && f.info.id == t.cur.info.id:
		f.close()
		return false
	}
	t.turn(f)
	return true
}

// turn makes f the file at path.
func (t *tail) turn(f *file) {
	missed := t.missed(f.info)
	t.watch.took(f.info)
	t.adopt(f)
	t.trouble = ""
	switch {
	case t.cur != nil:
		t.note("rotated: inode %d, before %d", f.info.id.ino, t.cur.info.id.ino)
		t.cur.active = time.Now() // its writer has from now on to reopen
		t.old = append(t.old, t.cur)
	case f.info.same(t.found):
		t.begin(f)
	default:
		t.note("appeared, inode %d", f.info.id.ino)
	}
	t.old = append(t.old, missed...)
	t.cur = f
}

// adopt makes f a file that is read.
func (t *tail) adopt(f *file) {
	f.split = splitter{max: t.cfg.MaxLine, line: t.h.Line, file: t.cfg.Path, inode: f.info.id.ino}
	remember(&t.known, f.info)
}

// remember appends to a list of bounded length.
func remember(list *[]fileInfo, info fileInfo) {
	if len(*list) == maxKnown {
		*list = slices.Delete(*list, 0, 1)
	}
	*list = append(*list, info)
}

func (t *tail) isKnown(info fileInfo) bool {
	return slices.ContainsFunc(t.known, info.same) || slices.ContainsFunc(t.copies, info.same)
}

// release lets go of replaced files that have been idle long enough.
func (t *tail) release() error {
	kept := t.old[:0]
	for i, f := range t.old {
		if len(t.old)-i <= maxOld && time.Since(f.active) < lingerTicks*t.cfg.Poll {
			kept = append(kept, f)
			continue
		}
		f.close()
		if err := f.split.flush(); err != nil {
			t.old = append(kept, t.old[i+1:]...)
			return err
		}
	}
	t.old = kept
	return nil
}

func (t *tail) absent() {
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
	t.h.Note(t.cfg.Path + ": " + fmt.Sprintf(format, args...))
}

func (t *tail) gap(bytes int64, why string) {
	t.h.Gap(Gap{File: t.cfg.Path, Bytes: bytes, Why: why})
}
