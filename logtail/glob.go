package logtail

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// maxFiles is how many files one pattern follows at once.
const maxFiles = 10_000

// FollowGlob follows every file that cfg.Path, a pattern of path.Match in each
// of its parts, matches; * and ? do not match a leading dot, and compressed
// files (.gz, .xz …) are left out. What matches later joins and is read from its
// beginning; a file that was deleted ends when it has been read to its end and
// was idle for 10 ticks. A file that was renamed or copied to another name that
// matches is not read again; if it grows there, it is read on.
//
// Line.File says which file. All files share one inotify instance, and are read
// by turns. At most 10,000 are followed at once.
func FollowGlob(ctx context.Context, cfg Config, h Handler) error {
	if err := prepare(&cfg, &h); err != nil {
		return err
	}
	pattern, err := absolute(cfg.Path)
	if err != nil {
		return err
	}
	for part := range strings.SplitSeq(pattern, "/") {
		if _, err := path.Match(part, ""); err != nil {
			return fmt.Errorf("follow %q: %q is no pattern: %w", cfg.Path, part, err)
		}
	}
	g := newGroup(cfg, h)
	defer g.close()
	g.glob = &glob{group: g, pattern: pattern, stale: true, refused: map[string]bool{}}
	g.glob.watch = newWatcher(pattern, g.hub)
	g.glob.watch.where, g.glob.watch.namesOnly = g.glob.where, true
	return g.run(ctx)
}

// IsGlob reports whether a path has one of the characters *, ? or [ of a pattern.
func IsGlob(path string) bool { return strings.ContainsAny(path, "*?[") }

// glob finds the files that a pattern matches.
type glob struct {
	*group
	pattern string // absolute
	watch   *watcher
	stale   bool      // names have changed since the last scan
	begun   bool      // the first scan is done
	full    bool      // that more match than are followed is noted
	seen    time.Time // when the scan before began, as files are stamped
	looked  time.Time // the same moment, by the monotonic clock
	ticks   int
	again   <-chan time.Time // when to scan again, for files that are undecided
	refused map[string]bool  // what was left out and noted
}

// retry is when a file that is undecided is looked at again.
const retry = 50 * time.Millisecond

// where lists the directories that names can appear in.
func (g *glob) where() (dirs, above, names []string) {
	_, dirs, _ = g.list.expand(g.pattern)
	for i, dir := range dirs {
		for dir != "/" && !isDir(dir) {
			dir, _ = cutPath(dir)
		}
		dirs[i] = dir
		parent, _ := cutPath(dir)
		above = append(above, parent)
	}
	return dirs, above, []string{""}
}

// tick finds what events have missed.
func (g *glob) tick() {
	g.ticks++
	if g.ticks%lingerTicks == 0 || g.hub.polled[g.watch] {
		g.stale = true
	}
}

// end lets go of a file that was deleted.
func (g *glob) end(t *tail) error {
	t.note("ended: it was deleted, and read to its end")
	err := t.flush()
	g.drop(t)
	g.cfg.Positions.forget(t.path)
	return err
}

// due reports whether a tail must be looked at though no event told of it: on a
// file system that other hosts write to there is none. Most ticks compare the
// size only.
func (g *glob) due(t *tail) bool {
	if t.cur == nil || t.trouble != "" || (g.ticks+int(t.cur.info.id.ino))%lingerTicks == 0 {
		return true
	}
	if slices.ContainsFunc(t.old, func(f *file) bool { return !t.idle(f) || f.grown() }) {
		return true
	}
	info, err := stat(t.path)
	return err != nil || info.id != t.cur.info.id || info.size != t.cur.off
}

// scan takes up the files that match now and were not followed.
func (g *glob) scan() {
	if !g.stale {
		return
	}
	g.stale = false
	defer func(seen, looked time.Time) { g.seen, g.looked = seen, looked }(stampNow(), time.Now())
	g.list.remember()
	defer g.list.forget()
	g.watch.arm()
	matches, _, denied := g.list.expand(g.pattern)
	for dir, err := range denied {
		g.refuse(dir, err.Error())
	}
	if !g.begun {
		if len(matches) == 0 {
			g.hub.note("nothing matches yet")
		}
		matches = append(matches, g.missing(matches)...)
	}
	for _, p := range matches {
		if g.paths[p] == nil && !compressed(p) {
			g.join(p)
		}
	}
	g.begun = true
}

// missing lists the logs with a saved position whose name is gone: what they
// held since may be found beside it, or is lost.
func (g *glob) missing(matches []string) (gone []string) {
	for _, p := range g.cfg.Positions.names() {
		if ok, err := path.Match(g.pattern, p); err == nil && ok && !slices.Contains(matches, p) {
			gone = append(gone, p)
		}
	}
	return gone
}

// join follows a file, unless it has been read under another name.
func (g *glob) join(p string) {
	info, err := stat(p)
	if err != nil {
		g.joinAt(p, false)
		return
	}
	if !info.regular() {
		g.refuse(p, "it is a "+info.kind())
		return
	}
	delete(g.refused, p)
	m, known := g.known.get(info)
	switch {
	case known && (m.held || m.copy), known && g.begun && m.end == info.size, !known && g.begun && g.undecided(p, info):
		return
	case known && g.begun:
		g.take(p, Position{Inode: info.id.ino, Offset: m.end})
	default:
		g.joinAt(p, true)
	}
}

func (g *glob) joinAt(p string, there bool) {
	switch {
	case len(g.tails) == maxFiles:
		if !g.full {
			g.full = true
			g.hub.note(fmt.Sprintf("more than %d files match; the others are not followed until some are gone", maxFiles))
		}
		return
	case !there && g.begun: // gone between the scan and now
		return
	case g.begun:
		g.take(p, FromBeginning)
	default:
		g.take(p, g.cfg.From)
	}
}

func (g *glob) take(p string, from Start) {
	if err := g.follow(p, p, from); err != nil {
		g.refuse(p, err.Error())
		g.drop(g.paths[p])
	}
}

// refuse notes, once, that a path is left out.
func (g *glob) refuse(p, why string) {
	if !g.refused[p] && len(g.refused) < maxFiles {
		g.refused[p] = true
		g.hub.note(fmt.Sprintf("%s is left out: %s", p, why))
	}
}

func (g *glob) drop(t *tail) {
	for _, f := range t.files() {
		t.closeFile(f)
	}
	g.hub.leave(t.watch)
	delete(g.tails, t.watch)
	delete(g.paths, t.path)
	delete(g.dirty, t)
}

// undecided reports whether a file with the rotated name of one that is followed
// is a copy of it, or may turn out to be one, since its first line is not whole
// yet, or may have been that log before it was looked at last.
func (g *glob) undecided(p string, info fileInfo) bool {
	dir, base := cutPath(p)
	for _, t := range g.tails {
		d, b := cutPath(t.path)
		if d != dir || !isRotated(b, base) {
			continue
		}
		f, err := openFile(p)
		if err != nil {
			return false
		}
		defer f.close()
		if slices.ContainsFunc(t.files(), func(held *file) bool { return held.copied(f) }) {
			g.known.copied(info)
			return true
		}
		if !f.hasLine() || !info.born.Before(t.lastLook()) {
			t.wake(true)
			g.again = time.After(retry)
			return true
		}
	}
	return false
}
