package logtail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// watcher wakes its caller when the file at a path may have changed. It watches
// directories only, so that a burst of writes is one event in the kernel's
// queue: the directory of the path, that of each link it goes through, for a
// directory that is missing the nearest one above, and the next above each.
type watcher struct {
	path    string
	note    func(string)
	inotify *fsnotify.Watcher // nil while no inotify instance can be had
	errs    chan error
	drained chan struct{}     // closed when nothing reads its Errors any more
	dirs    map[string]fileID // watched
	names   []string          // in them, the beginnings of names that concern path
	linked  bool              // path is a symbolic link
	trouble string            // why path is polled; empty while events come

	// Files that appeared at path, by events and by what was opened. More
	// events than files means that some came and went unseen; fewer, that events
	// are still to come, or that its directory was replaced.
	counting        bool
	before          fileInfo // at path when its directory came under watch: made no event
	created, opened int
	quiet           int // ticks since the last event
}

func newWatcher(path string, note func(string)) *watcher {
	return &watcher{path: path, note: note, dirs: map[string]fileID{}}
}

// wait returns true when path should be looked at, false when ctx is done.
func (w *watcher) wait(ctx context.Context, tick <-chan time.Time) bool {
	for {
		var events chan fsnotify.Event
		if w.inotify != nil {
			events = w.inotify.Events
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick:
			// Fewer events than files: the missing ones never come.
			if w.quiet++; w.quiet > lingerTicks && w.created < w.opened {
				w.created = w.opened
			}
			w.arm()
			return true
		case ev := <-events:
			w.quiet = 0
			if w.concerns(ev) {
				return true
			}
		case err := <-w.errs:
			w.lost(err)
			return true
		}
	}
}

// concerns reports whether an event may be about path, and counts and rearms.
func (w *watcher) concerns(ev fsnotify.Event) bool {
	dir, base := cutPath(ev.Name)
	name := joinPath(dir, base) // fsnotify gives what lies in / two slashes
	_, watched := w.dirs[name]
	if !watched && !slices.ContainsFunc(w.names, func(n string) bool { return strings.HasPrefix(base, n) }) {
		return false
	}
	if watched && ev.Op != fsnotify.Chmod {
		delete(w.dirs, name) // gone or replaced: its watch is worth nothing
	}
	if ev.Op != fsnotify.Write {
		if ev.Has(fsnotify.Create) && !w.linked && name == w.path {
			w.created++
		}
		w.arm()
	}
	return true
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
	if w.inotify == nil && !w.open() {
		return
	}
	for range maxLinks {
		dirs, above, names := w.places()
		w.names = names
		changed, err := w.add(dirs, above)
		if err != nil {
			w.poll(err)
			return
		}
		if !changed {
			break
		}
	}
	if w.trouble != "" {
		w.trouble = ""
		w.note("watched by file events again")
	}
}

func (w *watcher) open() bool {
	fsw, err := fsnotify.NewWatcher()
	if err != nil {
		w.poll(err)
		return false
	}
	w.inotify, w.errs, w.drained = fsw, make(chan error, 1), make(chan struct{})
	// fsnotify sends some errors with its lock held: unread, they would block
	// the next Add for ever.
	go func(errs chan<- error, done chan<- struct{}) {
		defer close(done)
		for err := range fsw.Errors {
			select {
			case errs <- err:
			default:
			}
		}
	}(w.errs, w.drained)
	return true
}

func (w *watcher) close() {
	if w.inotify != nil {
		_ = w.inotify.Close()
		<-w.drained
	}
}

// add watches dirs, those above where that is permitted, and nothing else.
// changed is true if a directory was added or is gone: what lies in it must be
// looked up again.
func (w *watcher) add(dirs, above []string) (changed bool, err error) {
	listed := w.inotify.WatchList()
	keep := map[string]fileID{}
	for i, dir := range slices.Concat(dirs, above) {
		// Stat before Add: a directory replaced in between is seen next time.
		info, err := stat(dir)
		if err != nil {
			return true, nil
		}
		if at, ok := w.watched(info.id); ok && slices.Contains(listed, at) {
			keep[at] = info.id
			continue
		}
		if parent, _ := cutPath(w.path); dir == parent && !w.counting {
			w.counting = true
			w.before, _ = stat(w.path) // absent: the zero fileInfo
		}
		switch err := w.inotify.Add(dir); {
		case i >= len(dirs) && errors.Is(err, fs.ErrPermission):
			continue
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return changed, fmt.Errorf("watch %q: %w", dir, err)
		default:
			keep[dir], w.dirs[dir] = info.id, info.id
			listed = append(listed, dir)
		}
		changed = true
	}
	for dir := range w.dirs {
		if _, ok := keep[dir]; !ok {
			_ = w.inotify.Remove(dir) // gone already, perhaps
		}
	}
	w.dirs = keep
	return changed, nil
}

// watched gives the spelling under which a directory is watched. There must be
// one only: fsnotify keeps the first that it is given, and its Remove cleans the
// path where its Add does not.
func (w *watcher) watched(id fileID) (dir string, ok bool) {
	for dir, at := range w.dirs {
		if at == id {
			return dir, true
		}
	}
	return "", false
}

// places lists the directories to watch and the names in them that matter.
// The one above each is watched for the directory itself: its own deletion is
// not told (IN_DELETE_SELF) while a deleted file in it is held open.
func (w *watcher) places() (dirs, above, names []string) {
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

// lost handles an error of the watch itself: events are missing, so the caller
// looks, and the tick covers the rest.
func (w *watcher) lost(err error) {
	if errors.Is(err, fsnotify.ErrEventOverflow) {
		w.note("the queue of file events overflowed; polled once instead")
		w.opened = w.created
		return
	}
	w.note(fmt.Sprintf("file events: %v", err))
}

// poll notes, once per reason, that path is read by the tick alone.
func (w *watcher) poll(err error) {
	why := err.Error()
	switch {
	case errors.Is(err, unix.ENOSPC):
		why += " (fs.inotify.max_user_watches is reached)"
	case errors.Is(err, unix.EMFILE):
		why += " (fs.inotify.max_user_instances, or the limit of open files, is reached)"
	}
	if w.trouble != why {
		w.trouble = why
		w.note("polled, no file events: " + why)
	}
}
