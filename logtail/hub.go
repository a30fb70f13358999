package logtail

import (
	"errors"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// hub owns the one inotify instance that the watchers of all followed paths
// share, and tells each event to the watchers it concerns.
type hub struct {
	note    func(string)
	inotify *fsnotify.Watcher // nil while no inotify instance can be had
	errs    chan error
	drained chan struct{} // closed when nothing reads its Errors any more

	places map[string]*place            // by the spelling that fsnotify was given
	ids    map[fileID]*place            // the same
	names  map[string]map[*watcher]bool // whom names with this beginning concern
	listed map[string]bool              // what fsnotify watches; nil: to be asked again
	polled map[*watcher]bool            // whose places cannot be watched
	serial uint64                       // of the event
}

// eventBuffer is how many events are taken before paths are looked at.
const eventBuffer = 512

// few users of a place are asked one by one; more are looked up by name.
const few = 8

// place is a watched directory. There must be one only for each: the kernel
// keeps one watch, and fsnotify the first spelling that it is given.
type place struct {
	id    fileID
	path  string
	users map[*watcher]string // and how each spells it
}

func newHub(note func(string)) *hub {
	return &hub{
		note: note, places: map[string]*place{}, ids: map[fileID]*place{},
		names: map[string]map[*watcher]bool{}, polled: map[*watcher]bool{},
	}
}

// open makes the inotify instance, if there is none.
func (h *hub) open() error {
	if h.inotify != nil {
		return nil
	}
	fsw, err := fsnotify.NewBufferedWatcher(eventBuffer)
	if err != nil {
		return err
	}
	h.inotify, h.errs, h.drained = fsw, make(chan error, 1), make(chan struct{})
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
	}(h.errs, h.drained)
	return nil
}

func (h *hub) close() {
	if h.inotify != nil {
		_ = h.inotify.Close()
		<-h.drained
	}
}

// events is nil, and blocks, while there is no inotify instance.
func (h *hub) events() <-chan fsnotify.Event {
	if h.inotify == nil {
		return nil
	}
	return h.inotify.Events
}

// watch makes w a user of the directory. fresh is true if it was none.
func (h *hub) watch(w *watcher, dir string, id fileID) (p *place, fresh bool, err error) {
	if p := h.ids[id]; p != nil && h.watches(p) {
		_, known := p.users[w]
		if !known {
			p.users[w] = dir
		}
		return p, !known, nil
	}
	err = h.inotify.Add(dir)
	h.listed = nil
	if err != nil {
		return nil, false, err
	}
	if old := h.places[dir]; old != nil {
		h.drop(old)
	}
	p = &place{id: id, path: dir, users: map[*watcher]string{w: dir}}
	h.places[dir], h.ids[id] = p, p
	return p, true, nil
}

// watches reports whether fsnotify still has the watch: it lets go of what is
// unmounted or deleted.
func (h *hub) watches(p *place) bool {
	if h.listed == nil {
		h.listed = map[string]bool{}
		for _, path := range h.inotify.WatchList() {
			h.listed[path] = true
		}
	}
	return h.listed[p.path]
}

// unwatch ends the use of a directory.
func (h *hub) unwatch(w *watcher, p *place) {
	delete(p.users, w)
	if len(p.users) == 0 && h.places[p.path] == p {
		_ = h.inotify.Remove(p.path) // gone already, perhaps
		h.drop(p)
	}
}

// drop forgets a place: its watch is worth nothing, or stands for another now.
func (h *hub) drop(p *place) {
	h.listed = nil
	if h.places[p.path] == p {
		delete(h.places, p.path)
	}
	if h.ids[p.id] == p {
		delete(h.ids, p.id)
	}
}

// leave forgets a watcher.
func (h *hub) leave(w *watcher) {
	for p := range w.places {
		h.unwatch(w, p)
	}
	h.rename(w, nil)
	delete(h.polled, w)
}

// rename sets the names that concern w.
func (h *hub) rename(w *watcher, names []string) {
	for _, n := range w.names {
		delete(h.names[n], w)
		if len(h.names[n]) == 0 {
			delete(h.names, n)
		}
	}
	for _, n := range names {
		if h.names[n] == nil {
			h.names[n] = map[*watcher]bool{}
		}
		h.names[n][w] = true
	}
	w.names = names
}

// dispatch tells an event to the watchers it concerns.
func (h *hub) dispatch(ev fsnotify.Event, tell func(w *watcher, op fsnotify.Op)) {
	if ev.Op != fsnotify.Write {
		h.listed = nil
	}
	dir, base := cutPath(ev.Name)
	h.serial++
	send := func(w *watcher, name string) {
		if w.told != h.serial && !(w.namesOnly && (ev.Op == fsnotify.Write || ev.Op == fsnotify.Chmod)) {
			w.told = h.serial
			w.event(name, ev.Op)
			tell(w, ev.Op)
		}
	}
	// fsnotify gives what lies in / two slashes.
	if p := h.places[joinPath(dir, base)]; p != nil {
		if ev.Op != fsnotify.Chmod {
			h.drop(p) // gone or replaced
		}
		for w, own := range p.users {
			send(w, own)
		}
	}
	p := h.places[dir]
	if p == nil {
		return
	}
	if len(p.users) <= few {
		for w, own := range p.users {
			if slices.ContainsFunc(w.names, func(n string) bool { return strings.HasPrefix(base, n) }) {
				send(w, joinPath(own, base))
			}
		}
		return
	}
	for i := range len(base) + 1 {
		for w := range h.names[base[:i]] {
			if own, ok := p.users[w]; ok {
				send(w, joinPath(own, base))
			}
		}
	}
}

// poll notes that paths are read by the tick alone: once, until all of them are
// watched again.
func (h *hub) poll(w *watcher, err error) {
	first := len(h.polled) == 0
	h.polled[w] = true
	if !first {
		return
	}
	why := err.Error()
	switch {
	case errors.Is(err, unix.ENOSPC):
		why += " (fs.inotify.max_user_watches is reached)"
	case errors.Is(err, unix.EMFILE):
		why += " (fs.inotify.max_user_instances, or the limit of open files, is reached)"
	}
	h.note("polled, no file events: " + why)
}

func (h *hub) watched(w *watcher) {
	if !h.polled[w] {
		return
	}
	delete(h.polled, w)
	if len(h.polled) == 0 {
		h.note("watched by file events again")
	}
}
