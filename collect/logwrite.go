package collect

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"halfopen/clock"
	"halfopen/timeline"
)

// copyWriter writes a logCopy's file. Only the writer's goroutine uses it.
type copyWriter struct {
	c      *logCopy
	path   string
	file   string // its name
	out    *os.File
	size   int64
	midway bool // the file ends within a line
	index  []timeline.Logs
	failed error // of the last write
}

// open opens the file, once more with each write if it can't be opened. A program
// that was restarted goes on in the same one.
func (w *copyWriter) open() error {
	if w.out != nil {
		return nil
	}
	out, err := os.OpenFile(w.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err == nil {
		var st os.FileInfo
		if st, err = out.Stat(); err == nil {
			w.out, w.size = out, st.Size()
			return nil
		}
		out.Close()
	}
	w.fail(err)
	return err
}

func (w *copyWriter) close() {
	if w.out != nil {
		w.fail(w.out.Close())
	}
}

// sync brings the file to the disk, if all that was to be written is in it.
func (w *copyWriter) sync() error {
	if w.failed == nil && w.out != nil {
		w.fail(w.out.Sync())
	}
	return w.failed
}

// fail records why nothing is copied, once until something is again.
func (w *copyWriter) fail(err error) {
	if err != nil && w.failed == nil {
		w.c.rec.Lose(w.c.source, fmt.Errorf("copy lines: %w; what they mean is recorded all the same", err))
	}
	w.failed = err
}

// write writes a batch as far as the disk takes it.
func (w *copyWriter) write(b batch) {
	err := w.open()
	for _, p := range b.piles {
		kept, torn := 0, 0
		late := time.AfterFunc(w.c.rec.patience, func() { w.say(p, 0) }) // a disk that hangs is not waited for
		if err == nil {
			kept, torn, err = w.append(p)
		}
		late.Stop()
		if kept < len(p.bytes) {
			m := p.first(kept)
			m.why = err.Error()
			w.c.miss(m)
		}
		w.say(p, kept)
		w.note(p)
		w.size += int64(kept + torn)
	}
	w.fail(err)
	if err == nil {
		w.c.found()
	}
}

// append writes lines at the end of the file: all of them, or the first. What is
// half written is taken back; torn are the bytes of it where that can't be done.
func (w *copyWriter) append(p *pile) (kept, torn int, err error) {
	if w.midway { // a line of its own for what is no continuation
		if _, err := w.out.WriteString("\n"); err != nil {
			return 0, 0, err
		}
		w.size, w.midway = w.size+1, false
	}
	n, err := w.out.Write(p.bytes)
	if err == nil {
		w.midway = p.open
		return n, 0, nil
	}
	kept = bytes.LastIndexByte(p.bytes[:n], '\n') + 1
	if n > kept && w.out.Truncate(w.size+int64(kept)) != nil {
		w.midway = true
		return kept, n - kept, err
	}
	return kept, 0, err
}

// say records what the lines of a pile mean, whose first bytes are in the file.
func (w *copyWriter) say(p *pile, kept int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.at < kept {
			e.File, e.Offset = w.file, w.size+int64(e.at)
		}
		w.c.rec.Append(clock.Mono()-e.read, timeline.Body{Event: e.Event})
	}
	p.events = nil
}

// note indexes the bytes of a pile.
func (w *copyWriter) note(p *pile) {
	for _, r := range p.runs {
		if r.lines == 0 {
			continue
		}
		l := timeline.Logs{
			Name: w.c.name, File: w.file, Offset: w.size + int64(r.at), Bytes: int64(r.bytes), Lines: r.lines,
			Source: p.source, SourceInode: p.inode, SourceOffset: r.from,
		}
		if n := len(w.index); n > 0 && continues(w.index[n-1], l) {
			w.index[n-1].Bytes += l.Bytes
			w.index[n-1].Lines += l.Lines
			continue
		}
		if len(w.index) == maxIndex {
			w.tell()
		}
		w.index = append(w.index, l)
	}
}

// continues reports whether b goes on where a ends, in the copy and in the log.
func continues(a, b timeline.Logs) bool {
	return a.Source == b.Source && a.SourceInode == b.SourceInode &&
		a.Offset+a.Bytes == b.Offset && a.SourceOffset+a.Bytes == b.SourceOffset
}

// tell records the index.
func (w *copyWriter) tell() {
	for i := range w.index {
		w.c.rec.Append(0, timeline.Body{Logs: &w.index[i]})
	}
	w.index = nil
}
