package timeline

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"halfopen/clock"
)

// recorder is the source of the Writer's own gaps.
const recorder = "recorder"

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
// caller: beyond 8 MiB records are lost, counted, and a Gap says so as soon as
// the disk takes bytes again.
type Writer struct {
	mu      sync.Mutex
	n       uint64
	pending []byte
	lost    int64  // records since the last Gap
	why     string // of the loss
	end     bool   // an End is written: nothing may follow

	file   *os.File
	good   int64 // bytes of whole lines in the file
	flush  sync.Mutex
	failed error // of the last write, nil once one succeeded again
	// unsynced is the first error of fsync(2): the kernel reports it once, and
	// what it lost stays lost. Only run and Close touch it, one after the other.
	unsynced error
	stop     chan struct{}
	done     chan struct{}

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
	w := &Writer{file: f, observe: observe, stop: make(chan struct{}), done: make(chan struct{})}
	h.Format = Format
	w.Append(0, Body{Header: &h})
	if err := w.Flush(); err != nil {
		f.Close()
		os.Remove(path)
		return nil, err
	}
	go w.run()
	return w, nil
}

// Append stamps a record and adds it to the recording. Took is how long the
// reading took. Nothing is added after an End.
func (w *Writer) Append(took time.Duration, b Body) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.end {
		return
	}
	w.end = b.End != nil
	if w.lost > 0 && (w.end || len(w.pending) < maxPending) {
		gap := &Gap{Source: recorder, Lost: w.lost, Why: w.why}
		w.lost = 0
		w.add(0, Body{Gap: gap})
	}
	w.add(took, b)
}

func (w *Writer) add(took time.Duration, b Body) {
	w.n++
	r := Record{N: w.n, Time: time.Now().UTC().Round(0), Mono: clock.Mono(), Took: took, Body: b}
	defer w.observe(r)
	if len(w.pending) >= maxPending && b.End == nil && b.Gap == nil { // those two tell of the loss
		w.lose(1, "the disk did not take records as fast as they came")
		return
	}
	line, err := encode(w.pending, &r)
	if err != nil { // a value that JSON has no form for: a bug, but not worth a recording
		w.lose(1, err.Error())
		return
	}
	w.pending = line
}

func (w *Writer) lose(records int64, why string) {
	w.lost += records
	w.why = why
}

func (w *Writer) run() {
	defer close(w.done)
	flush, sync := time.NewTicker(flushEvery), time.NewTicker(syncEvery)
	defer flush.Stop()
	defer sync.Stop()
	for {
		select {
		case <-flush.C:
			_ = w.Flush() // kept in failed; Err and Close report it
		case <-sync.C:
			w.sync()
		case <-w.stop:
			return
		}
	}
}

// Flush hands everything so far to the kernel.
func (w *Writer) Flush() error {
	w.flush.Lock()
	defer w.flush.Unlock()
	w.mu.Lock()
	batch := w.pending
	w.pending = nil
	w.mu.Unlock()
	if len(batch) == 0 {
		return w.failed
	}
	n, err := w.file.Write(batch)
	if err == nil {
		w.good += int64(n)
		w.failed = nil
		return nil
	}
	w.failed = fmt.Errorf("write recording: %w", err)
	w.tear(batch, n)
	return w.failed
}

func (w *Writer) sync() {
	if err := w.file.Sync(); err != nil && w.unsynced == nil {
		w.unsynced = fmt.Errorf("sync recording: %w", err)
	}
}

// tear puts things right after a write that stopped in the middle: the file ends
// with a whole line again, and the records that did not fit are counted lost.
func (w *Writer) tear(batch []byte, written int) {
	whole := bytes.LastIndexByte(batch[:written], '\n') + 1
	w.good += int64(whole)
	_ = w.file.Truncate(w.good)
	_, _ = w.file.Seek(w.good, io.SeekStart)
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range bytes.Lines(batch[whole:]) {
		lost := int64(1)
		if r, err := decode(bytes.TrimSuffix(line, []byte("\n"))); err == nil && r.Gap != nil && r.Gap.Source == recorder {
			lost = r.Gap.Lost // those that it told of are still untold
		}
		w.lose(lost, w.failed.Error())
	}
}

// Err is the error of the last write to the disk, nil if it succeeded.
func (w *Writer) Err() error {
	w.flush.Lock()
	defer w.flush.Unlock()
	return w.failed
}

// Close writes the End, brings everything to the disk and closes the file.
func (w *Writer) Close(e End) error {
	w.Append(0, Body{End: &e})
	close(w.stop)
	<-w.done
	err := w.Flush()
	w.sync()
	if err == nil {
		err = w.unsynced
	}
	if cerr := w.file.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close recording: %w", cerr)
	}
	return err
}
