package collect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"halfopen/clock"
	"halfopen/timeline"
)

// Limits bound a long recording.
type Limits struct {
	MaxSize int64         // of a segment of the timeline, bytes; 0: any
	Every   time.Duration // a new segment; 0: never by time
	// Keep bounds what is closed: segments and raw material, the oldest going
	// first. Copies of logs, which grow on, don't count.
	Keep timeline.Keep
}

// Limit bounds the recording. It is to be called right after Open.
func (r *Recorder) Limit(l Limits) {
	r.kept.keep = l.Keep
	r.tl.Rotate(timeline.Rotation{MaxSize: l.MaxSize, Every: l.Every, Closed: func(name string, bytes int64) { r.kept.add(r, name, bytes) }})
}

// ledger lists the closed files that this recorder wrote, oldest first: no other
// is ever removed.
type ledger struct {
	keep  timeline.Keep
	mu    sync.Mutex
	files []keptFile
	bytes int64
}

type keptFile struct {
	name  string
	bytes int64
	at    time.Duration // monotonic
}

// add enters a file, and removes what is too much by now.
func (l *ledger) add(r *Recorder, name string, bytes int64) {
	if l.keep == (timeline.Keep{}) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files = append(l.files, keptFile{name, bytes, clock.Mono()})
	l.bytes += bytes
	gone := &timeline.Removed{Why: "no more than " + l.keep.String() + " is kept"}
	for len(l.files) > 1 && l.tooMuch() {
		f := l.files[0]
		l.files, l.bytes = l.files[1:], l.bytes-f.bytes
		if err := os.Remove(filepath.Join(r.dir, f.name)); err != nil {
			if !errors.Is(err, fs.ErrNotExist) { // removed by somebody else
				r.Fail("evidence file "+f.name, 0, fmt.Errorf("remove: %w", err))
			}
			continue
		}
		gone.Names, gone.Bytes = append(gone.Names, f.name), gone.Bytes+f.bytes
	}
	if len(gone.Names) > 0 {
		r.Append(0, timeline.Body{Removed: gone})
	}
}

func (l *ledger) tooMuch() bool {
	return l.keep.Size > 0 && l.bytes > l.keep.Size || l.keep.For > 0 && clock.Mono()-l.files[0].at > l.keep.For
}
