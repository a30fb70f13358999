package collect

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"halfopen/timeline"
)

// Save writes an evidence file as a whole, or not at all, and records it. One that
// can't be written is a Failure, and the recording is Incomplete: a full disk must
// not end an experiment.
func (r *Recorder) Save(rest, what string, data []byte) (saved bool) {
	if err := r.write(rest, data); err != nil {
		r.Lose("evidence file "+r.Name(rest), err)
		return false
	}
	r.Append(0, timeline.Body{File: &timeline.File{Name: r.Name(rest), What: what}})
	return true
}

func (r *Recorder) write(rest string, data []byte) error {
	return timeline.WriteWhole(r.Path(rest), func(to io.Writer) error {
		_, err := to.Write(data)
		return err
	})
}

// keepRaw is Save for the raw material of a Witness, which is the first to go
// where the recording is to stay small.
func (r *Recorder) keepRaw(rest, what string, data []byte) {
	if r.Save(rest, what, data) {
		r.kept.add(r, r.Name(rest), int64(len(data)))
	}
}

// Lose records that evidence could not be written: what names it.
func (r *Recorder) Lose(what string, err error) {
	r.unwritten.note(err)
	r.Fail(what, 0, err)
}

// unwritten is the evidence that could not be written.
type unwritten struct {
	mu    sync.Mutex
	times int
	first error
}

func (u *unwritten) note(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.times++
	if u.first == nil {
		u.first = err
	}
}

// Incomplete says, after Close, what of the recording could not be written; nil if
// all was.
func (r *Recorder) Incomplete() error {
	r.unwritten.mu.Lock()
	defer r.unwritten.mu.Unlock()
	var what []string
	if n := r.tl.Lost(); n > 0 {
		what = append(what, fmt.Sprintf("%d records were lost", n))
	}
	if r.unwritten.times > 0 {
		what = append(what, fmt.Sprintf("%d times evidence could not be written, first: %v", r.unwritten.times, r.unwritten.first))
	}
	if len(what) == 0 {
		return nil
	}
	return errors.New("the recording is incomplete: " + strings.Join(what, "; "))
}

// Unwritten is, after a Close that failed, what only memory has of the timeline.
func (r *Recorder) Unwritten() []byte { return r.tl.Unwritten() }

// partialFor is how long a file may take to be written; after that nobody does.
const partialFor = 10 * time.Minute

// sweep removes what recorders that were killed left half written in a folder, and
// the sockets where they took marks.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if isMarkSocket(e) {
			_, _ = Send(path, Remark{}) // which removes one that nobody listens on
		}
		if !timeline.IsPartial(e.Name()) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > partialFor {
			os.Remove(path)
		}
	}
}
