package logtail

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watcher knows which directories must be watched to learn when the file at a
// path may have changed: the directory of the path, that of each link it goes
// through, for a directory that is missing the nearest one above, and the next
// above each. Files are not watched, so that a burst of writes is one event in
// the kernel's queue.
type watcher struct {
	path      string
	hub       *hub
	where     func() (dirs, above, names []string) // to watch, to watch where permitted, and in them the beginnings of names that concern path
	places    map[*place]bool
	names     []string
	linked    bool   // path is a symbolic link
	namesOnly bool   // what is written does not concern it
	told      uint64 // serial of the last event

	// Files that appeared at path, by events and by what was opened. More
	// events than files means that some came and went unseen; fewer, that events
	// are still to come, or that its directory was replaced.
	counting        bool
	before          fileInfo // at path when its directory came under watch, until it was taken: it makes no event
	first           fileInfo // the same for good, where others watched the directory before: it may make one still
	created, opened int
	heard           time.Time // when the last event came
	missed          bool      // events, since path was last looked at
}

// lateEvent is how long after the last event one may still come: the thread that reads
// them can be held up.
const lateEvent = 10 * time.Second

func newWatcher(path string, h *hub) *watcher {
	w := &watcher{path: path, hub: h, places: map[*place]bool{}, heard: time.Now()}
	w.where = w.chain
	return w
}

// tick rearms. Fewer events than files: the missing ones never come.
func (w *watcher) tick() {
	if time.Since(w.heard) > lateEvent && w.created < w.opened {
		w.created = w.opened
	}
	w.arm()
}

// event counts, and rearms. name is what the event is about.
func (w *watcher) event(name string, op fsnotify.Op) {
	w.heard = time.Now()
	if op == fsnotify.Write {
		return
	}
	if op.Has(fsnotify.Create) && !w.linked && name == w.path && !w.hasFirst() {
		w.created++
	}
	w.arm()
}

// hasFirst reports whether path still has the file whose event may be told late.
func (w *watcher) hasFirst() bool {
	if w.first == (fileInfo{}) {
		return false
	}
	info, err := stat(w.path)
	return err == nil && info.same(w.first)
}

// took counts a file that was found at path.
func (w *watcher) took(info fileInfo) {
	if info.same(w.before) {
		w.before = fileInfo{}
		return
	}
	w.opened++
}

// arm brings the watches in line with the directories that matter now. What
// cannot be watched is left to the tick, which tries again.
func (w *watcher) arm() {
	if err := w.hub.open(); err != nil {
		w.hub.poll(w, err)
		return
	}
	for range maxLinks {
		dirs, above, names := w.where()
		if !slices.Equal(names, w.names) {
			w.hub.rename(w, names)
		}
		changed, err := w.add(dirs, above)
		if err != nil {
			w.hub.poll(w, err)
			return
		}
		if !changed {
			break
		}
	}
	w.hub.watched(w)
}

// add watches dirs, those above where that is permitted, and nothing else.
// changed is true if a directory was added or is gone: what lies in it must be
// looked up again.
func (w *watcher) add(dirs, above []string) (changed bool, err error) {
	keep := map[*place]bool{}
	for i, dir := range slices.Concat(dirs, above) {
		// Stat before Add: a directory replaced in between is seen next time.
		info, err := stat(dir)
		if err != nil {
			return true, nil
		}
		parent, _ := cutPath(w.path)
		counts := dir == parent && !w.counting
		if counts {
			w.counting = true
			w.before, _ = stat(w.path) // absent: the zero fileInfo
		}
		p, fresh, err := w.hub.watch(w, dir, info.id)
		if err == nil && counts && len(p.users) > 1 {
			w.first = w.before
		}
		switch {
		case i >= len(dirs) && errors.Is(err, fs.ErrPermission):
			continue
		case errors.Is(err, fs.ErrNotExist):
			changed = true
			continue
		case err != nil:
			return changed, fmt.Errorf("watch %q: %w", dir, err)
		}
		keep[p], w.places[p] = true, true
		changed = changed || fresh
	}
	for p := range w.places {
		if !keep[p] {
			w.hub.unwatch(w, p)
		}
	}
	w.places = keep
	return changed, nil
}

// chain lists the directories of the path and of what it links to. The one
// above each is watched for the directory itself: its own deletion is not told
// (IN_DELETE_SELF) while a deleted file in it is held open.
func (w *watcher) chain() (dirs, above, names []string) {
	chain := links(w.path)
	w.linked = len(chain) > 1
	for _, path := range chain {
		dir, base := cutPath(path)
		for dir != "/" && !isDir(dir) {
			dir, base = cutPath(dir)
		}
		parent, itself := cutPath(dir)
		dirs, above = append(dirs, dir), append(above, parent)
		for _, n := range []string{base, itself} {
			if n != "" { // of / itself
				names = append(names, n)
			}
		}
	}
	return dirs, above, names
}
