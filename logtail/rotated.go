package logtail

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sibling is a file beside the log that a rotation may have named.
type sibling struct {
	path string
	info fileInfo
}

// siblings lists the regular files beside the log that have a rotated name of
// it. Where the log is a symbolic link, they are looked for beside its target.
func siblings(path string) []sibling {
	chain := links(path)
	path = chain[len(chain)-1]
	dir, base := cutPath(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var found []sibling
	for _, e := range entries {
		if !isRotated(base, e.Name()) {
			continue
		}
		s := sibling{path: joinPath(dir, e.Name())}
		if s.info, err = lstat(s.path); err == nil && s.info.regular() {
			found = append(found, s)
		}
	}
	return found
}

// isRotated reports whether name is what a rotation makes of base: a number or
// a date behind it or before its extension (app.log.1, app.log-20261121,
// app-20261121.log). Compressed files are not: their bytes are others.
func isRotated(base, name string) bool {
	if rest, ok := strings.CutPrefix(name, base); ok {
		return isSerial(rest)
	}
	ext := filepath.Ext(base)
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(base, ext))
	if !ok {
		return false
	}
	rest, ok = strings.CutSuffix(rest, ext)
	return ok && isSerial(rest)
}

func isSerial(s string) bool {
	return len(s) > 1 && strings.IndexByte(".-_", s[0]) >= 0 && '0' <= s[1] && s[1] <= '9' &&
		strings.Trim(s, "0123456789.-_:T") == ""
}

// missed opens the files that were at path since it was last looked at, and
// were rotated away again before now was there. Born since then, they cannot
// have been read; a file system that keeps no time of birth hides them.
func (t *tail) missed(now fileInfo) []*file {
	files := t.openBorn(func(i fileInfo) bool { return t.bornSince(i) && !i.same(now) })
	t.watch.opened += len(files)
	return files
}

// bornSince reports whether a file is younger than the last look at path.
func (t *tail) bornSince(i fileInfo) bool { return !i.born.Before(t.seen.Add(-stampSlack)) }

// openBorn opens the unread siblings whose birth is wanted, oldest first.
func (t *tail) openBorn(wanted func(fileInfo) bool) []*file {
	all := siblings(t.path)
	slices.SortFunc(all, func(a, b sibling) int { return a.info.born.Compare(b.info.born) })
	var opened []*file
	for _, s := range all {
		if s.info.born.IsZero() || t.isKnown(s.info) || !wanted(s.info) {
			continue
		}
		f, err := openFile(s.path)
		if err != nil {
			continue
		}
		if slices.ContainsFunc(t.files(), func(held *file) bool { return held.copied(f) }) {
			f.close()
			remember(&t.copies, s.info)
			continue
		}
		t.adopt(f)
		opened = append(opened, f)
		t.note("rotated before it was opened: inode %d, now %s", f.info.id.ino, s.path)
	}
	return opened
}

// start finds where reading begins.
func (t *tail) start() error {
	var err error
	if t.found, err = stat(t.path); err == nil && !t.found.regular() {
		return fmt.Errorf("follow %q: it is a %s; only regular files can be followed", t.cfg.Path, t.found.kind())
	}
	t.seen = stampNow()
	earlier := siblings(t.path)
	f, err := openFile(t.path)
	if err == nil {
		t.found = f.info
	}
	if from, ok := t.cfg.From.(FromOffset); ok && from.Inode != t.found.id.ino {
		t.resumeRotated(from)
	}
	for _, s := range earlier {
		if t.bornSince(s.info) && !t.isKnown(s.info) {
			remember(&t.known, s.info) // rotated away just before Follow began
		}
	}
	if err == nil {
		t.turn(f)
	}
	return nil
}

// resumeRotated continues in the file that has left the name since, and in
// those that had the name after it.
func (t *tail) resumeRotated(from FromOffset) {
	for _, s := range siblings(t.path) {
		if s.info.id.ino != from.Inode {
			continue
		}
		f, err := openFile(s.path)
		if err != nil {
			continue
		}
		t.adopt(f)
		t.resume(f, from.Offset)
		t.old = append(t.old, f)
		t.old = append(t.old, t.openBorn(func(i fileInfo) bool {
			return i.born.After(f.info.born) && !i.same(t.found)
		})...)
		return
	}
	t.gap(-1, fmt.Sprintf("the file that was read before, inode %d, is gone; what came after its offset %d was not read", from.Inode, from.Offset))
}

// begin sets the position in the file that was there when Follow started.
func (t *tail) begin(f *file) {
	switch from := t.cfg.From.(type) {
	case FromOffset:
		if f.info.id.ino == from.Inode {
			t.resume(f, from.Offset)
		}
	case Whence:
		if from == FromNow {
			f.seek(f.lineStart(t.found.size, t.buf))
		}
	}
	t.note("followed from offset %d, inode %d", f.off, f.info.id.ino)
}

// resume continues f at offset, if a line begins there. Otherwise the number
// of the inode was used again, or the file was truncated.
func (t *tail) resume(f *file, offset int64) {
	if offset >= 0 && f.seek(offset) && f.atLineStart() {
		return
	}
	f.seek(0)
	t.gap(-1, fmt.Sprintf("no line begins at offset %d of inode %d: it is another file now and is read from its beginning", offset, f.info.id.ino))
}
