package timeline

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"halfopen/clock"
)

// Rotation says when a recording goes on in another segment.
type Rotation struct {
	MaxSize int64         // bytes of text; 0: any
	Every   time.Duration // 0: never by time
	// Closed, where not nil, is told of each file that is closed and compressed:
	// its name without folder, and its size.
	Closed func(name string, bytes int64)
}

// rotation is where the Writer stands. The Writer's mu guards it.
type rotation struct {
	Rotation
	prefix string
	first  Record        // the recording's header
	number int           // of the segment, from 1
	since  time.Duration // monotonic, of its start
	from   int64         // bytes of the file that don't count: a try to go on elsewhere failed there
}

// Rotate makes the recording go on in another segment from time to time. It is
// to be called before the first record.
func (w *Writer) Rotate(r Rotation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rot.Rotation = r
}

func (r *rotation) due(size int64) bool {
	return r.MaxSize > 0 && size-r.from >= r.MaxSize || r.Every > 0 && clock.Mono()-r.since >= r.Every
}

// head is the first lines of the next segment: its header, and what is needed to
// read it alone. The observer knows all that.
func (w *Writer) head() (lines []byte) {
	r := &w.rot
	h := *r.first.Header
	h.Segment, h.Started, h.StartedMono = r.number+1, &r.first.Time, r.first.Mono
	records := []Record{{Body: Body{Header: &h}}}
	for _, b := range w.again.bodies {
		records = append(records, Record{Again: true, Body: b})
	}
	for _, k := range records {
		k = w.stamp(k)
		line, err := encode(lines, &k)
		if err != nil {
			w.lose(err.Error())
			continue
		}
		lines = line
	}
	r.number, r.since = h.Segment, clock.Mono()
	return lines
}

// turn begins the next segment with its first lines. Where that can't be done,
// they go into the old file: a reader takes a header in the middle too.
func (w *Writer) turn(head []byte) {
	f, err := os.OpenFile(segmentPath(w.rot.prefix, w.rot.number), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err == nil {
		if _, err = f.Write(head); err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.batch, w.rot.from = head, w.good
		return
	}
	w.closed = append(w.closed, w.file)
	w.file, w.good, w.rot.from = f, int64(len(head)), 0
}

// tidyRegularly brings the recording to the disk, and puts closed segments away.
func (w *Writer) tidyRegularly() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.flush.Lock()
			now := w.file
			w.flush.Unlock()
			w.sync(now) // only this goroutine closes files
			w.putAway()
		case <-w.stop:
			return
		}
	}
}

func (w *Writer) sync(f *os.File) {
	if err := f.Sync(); err != nil && w.unsynced == nil {
		w.unsynced = errors.Join(errors.New("sync recording"), err)
	}
}

// putAway closes and compresses segments. Those that could not be compressed are tried
// again when others are closed.
func (w *Writer) putAway() {
	w.mu.Lock()
	closed, tell := w.closed, w.rot.Closed
	w.closed = nil
	w.mu.Unlock()
	for _, f := range closed {
		w.sync(f)
		f.Close()
		w.plain = append(w.plain, f.Name())
	}
	if len(closed) == 0 {
		return
	}
	w.plain = slices.DeleteFunc(w.plain, func(path string) bool {
		if err := compress(path); err != nil {
			w.Append(0, Body{Failure: &Failure{Source: Recorder, Error: err.Error()}})
			return false
		}
		if st, err := os.Stat(path + packed); err == nil && tell != nil {
			tell(filepath.Base(path)+packed, st.Size())
		}
		return true
	})
}
