package logtail

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// sibling is a file beside the log that a rotation may have named.
type sibling struct {
	path string
	info fileInfo
}

// siblings lists the regular files beside the log that have a rotated name of
// it. Where the log is a symbolic link, they are looked for beside its target.
func (t *tail) siblings() []sibling {
	chain := links(t.path)
	dir, base := cutPath(chain[len(chain)-1])
	names, err := t.list.names(dir)
	if err != nil {
		return nil
	}
	var found []sibling
	for _, name := range names {
		if !isRotated(base, name) {
			continue
		}
		s := sibling{path: joinPath(dir, name)}
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
	if len(name) <= len(base) {
		return false
	}
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

// maxMissed is how many rotated files are opened at once.
const maxMissed = 256

// missed opens the files that were at path since it was last looked at, and
// were rotated away again before now was there. Born since then, they cannot
// have been read; a file system that keeps no time of birth hides them.
func (t *tail) missed(now fileInfo) []*file {
	since := t.lastLook()
	files := t.openBorn(func(i fileInfo) bool { return !i.born.Before(since) && !i.same(now) })
	t.watch.opened += len(files)
	return files
}

// lastLook is when path was last looked at, by the clock that stamps files now:
// it may have been set back since.
func (t *tail) lastLook() time.Time {
	at := stampNow().Add(-time.Since(t.looked))
	if t.seen.Before(at) {
		at = t.seen
	}
	return at.Add(-stampSlack)
}

// openBorn opens the unread siblings whose birth is wanted, oldest first.
func (t *tail) openBorn(wanted func(fileInfo) bool) []*file {
	all := t.siblings()
	slices.SortFunc(all, func(a, b sibling) int {
		return cmp.Or(a.info.born.Compare(b.info.born), strings.Compare(a.path, b.path))
	})
	var opened []*file
	for i, s := range all {
		if s.info.born.IsZero() || t.known.knows(s.info) || !wanted(s.info) {
			continue
		}
		if len(opened) == maxMissed {
			t.gap(-1, fmt.Sprintf("%d or fewer rotated files were not read: more than %d at once", len(all)-i, maxMissed))
			break
		}
		f, err := openFile(s.path)
		if err != nil {
			t.note("cannot read what was rotated away: %v", err)
			continue
		}
		if slices.ContainsFunc(t.files(), func(held *file) bool { return held.copied(f) }) {
			f.close()
			t.known.copied(s.info)
			continue
		}
		t.adopt(f)
		opened = append(opened, f)
		t.note("rotated before it was opened: inode %d, now %s", f.info.id.ino, s.path)
	}
	return opened
}
