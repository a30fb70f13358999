package timeline

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"halfopen/clock"
)

// Recorder is the source of what the recorder says of itself.
const Recorder = "recorder"

// Limits of the Writer.
const (
	flushEvery = 100 * time.Millisecond // from memory to the kernel: survives kill -9
	syncEvery  = time.Second            // from the kernel to the disk: survives a power cut
	maxPending = 8 << 20                // bytes in memory while the disk does not take them
)

// Writer writes a recording. Its methods may be called from any goroutine.
//
// Records are stamped in Append, under a lock, so their order in the file is the
// order of the monotonic clock. A disk that is slow or full never blocks a
// caller: records wait in memory until the disk takes bytes again; beyond 8 MiB
// they are lost, counted, and a Gap says so.
type Writer struct {
	mu      sync.Mutex
	n       uint64
	pending []byte
	held    int    // bytes taken from pending that are not in the file yet
	lost    int64  // records since the last Gap
	missing int64  // records ever
	why     string // of the loss
	end     bool   // an End is written: nothing may follow
	again   standing
	rot     rotation
	closed  []*os.File // segments that tidy has to put away

	flush  sync.Mutex // guards what follows
	batch  []byte     // what is to be written next
	file   *os.File
	good   int64 // bytes of whole lines in the file
	failed error // of the last write, nil once one succeeded again

	// unsynced is the first error of fsync(2): the kernel reports it once, and
	// what it lost stays lost. Only tidy and Close touch it, and plain, one after the other.
	unsynced error
	plain    []string // closed segments that are not compressed yet
	stop     chan struct{}
	running  sync.WaitGroup

	observe func(Record)
}

// Create makes the recording at path, which must not exist, and writes its
// header. Observe, where not nil, is called with each record in order; it must
// return at once.
func Create(path string, h Header, observe func(Record)) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("create recording: %w", err)
	}
	if observe == nil {
		observe = func(Record) {}
	}
	h.Format = Format
	w := &Writer{file: f, observe: observe, stop: make(chan struct{})}
	first := w.stamp(Record{Body: Body{Header: &h}})
	observe(first)
	w.rot = rotation{prefix: strings.TrimSuffix(path, Suffix), first: first, number: 1, since: first.Mono}
	if w.pending, err = encode(nil, &first); err == nil {
		err = w.Flush()
	}
	if err != nil {
		f.Close()
		os.Remove(path)
		return nil, err
	}
	w.running.Go(w.flushRegularly)
	w.running.Go(w.tidyRegularly)
	return w, nil
}

// Append stamps a record and adds it to the recording. Took is how long the
// reading took. Nothing is added after an End. It returns the record's number.
func (w *Writer) Append(took time.Duration, b Body) (n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end {
		return 0
	}
	w.end = b.End != nil
	if w.lost > 0 && (w.end || w.room()) {
		gap := &Gap{Source: Recorder, Lost: w.lost, Why: w.why}
		w.lost = 0
		w.add(Record{Body: Body{Gap: gap}})
	}
	w.again.keep(b)
	w.add(Record{Took: took, Body: b})
	return w.n
}

// room reports whether memory takes one more record.
func (w *Writer) room() bool { return len(w.pending)+w.held < maxPending }

func (w *Writer) add(r Record) {
	r = w.stamp(r)
	w.observe(r)
	if !w.room() && r.End == nil && r.Gap == nil { // those two tell of the loss
		w.lose("the disk did not take records as fast as they came")
		return
	}
	all, err := encode(w.pending, &r)
	switch {
	case err != nil: // a value that JSON has no form for: a bug, but not worth a recording
		w.lose(err.Error())
	case len(all)-len(w.pending) > maxLine:
		w.lose(fmt.Sprintf("a record took %d bytes: a reader takes up to %d", len(all)-len(w.pending), maxLine))
	default:
		w.pending = all
	}
}

// stamp gives a record its number and time.
func (w *Writer) stamp(r Record) Record {
	w.n++
	r.N, r.Time, r.Mono = w.n, time.Now().UTC().Round(0), clock.Mono()
	return r
}

func (w *Writer) lose(why string) {
	w.lost++
	w.missing++
	w.why = why
}

func (w *Writer) flushRegularly() {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = w.Flush() // kept in failed; Err and Close report it
		case <-w.stop:
			return
		}
	}
}

// Flush hands everything so far to the kernel. What the disk does not take stays
// in memory for the next time.
func (w *Writer) Flush() error {
	w.flush.Lock()
	defer w.flush.Unlock()
	if len(w.batch) > 0 {
		if err := w.write(); err != nil {
			return err
		}
	}
	head := w.take()
	err := w.write()
	switch {
	case head == nil:
	case err == nil:
		w.turn(head)
	default:
		w.batch = append(w.batch, head...) // into the old file, when it can be had
	}
	w.hold()
	return err
}

// take moves what was appended to the batch. Where the segment is full it returns
// the first lines of the next one, which come right behind.
func (w *Writer) take() (head []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.batch, w.pending = w.pending, nil
	w.held = len(w.batch)
	if !w.end && w.rot.due(w.good+int64(len(w.batch))) {
		head = w.head()
	}
	return head
}

func (w *Writer) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = len(w.batch)
}

// write writes the batch. After a write that stopped in the middle the file ends
// with a whole line again, and the rest stays in the batch.
func (w *Writer) write() error {
	n, err := w.file.Write(w.batch)
	if err == nil {
		w.good += int64(n)
		w.batch = nil
		w.tell(nil)
		return nil
	}
	whole := bytes.LastIndexByte(w.batch[:n], '\n') + 1
	w.good += int64(whole)
	w.batch = w.batch[whole:]
	_ = w.file.Truncate(w.good)
	_, _ = w.file.Seek(w.good, io.SeekStart)
	w.tell(fmt.Errorf("write recording: %w", err))
	return w.failed
}

// tell says once that the disk takes no records, and once that it does again.
func (w *Writer) tell(now error) {
	before := w.failed
	w.failed = now
	switch {
	case before == nil && now != nil:
		w.Append(0, Body{Failure: &Failure{Source: Recorder, Error: now.Error() + "; the records wait in memory until there is room"}})
	case before != nil && now == nil:
		w.Append(0, Body{Mark: &Mark{Text: "the recording is written again"}})
	}
}

// Err is the error of the last write to the disk, nil if it succeeded.
func (w *Writer) Err() error {
	w.flush.Lock()
	defer w.flush.Unlock()
	return w.failed
}

// Lost is how many records never came into the recording.
func (w *Writer) Lost() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.missing
}

// Close writes the End, brings everything to the disk and closes the file.
func (w *Writer) Close(e End) error {
	close(w.stop)
	w.running.Wait()
	w.putAway()
	w.Append(0, Body{End: &e}) // behind what Rotation.Closed has told
	err := w.Flush()
	w.sync(w.file)
	if err == nil {
		err = w.unsynced
	}
	if cerr := w.file.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close recording: %w", cerr)
	}
	return err
}

// Unwritten is, after a Close that failed, what the disk did not take: lines of
// records that only memory has.
func (w *Writer) Unwritten() []byte {
	w.flush.Lock()
	defer w.flush.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(bytes.Clone(w.batch), w.pending...)
}
