package collect

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"

	"halfopen/timeline"
)

// Output keeps what a command prints as an evidence file, and records when which
// part of it came. It is an io.Writer that never fails: the command must not feel
// a full disk.
type Output struct {
	rec        *Recorder
	name, rest string

	mu      sync.Mutex
	file    *os.File
	offset  int64 // bytes of the file
	indexed int64 // of them, in a Logs record
	lines   int   // since then
	timer   *time.Timer
	failed  bool
}

// NewOutput makes the evidence file NAME-output.log.
func NewOutput(rec *Recorder, name string) *Output {
	o := &Output{rec: rec, name: name, rest: name + "-output.log"}
	var err error
	if o.file, err = os.OpenFile(rec.Path(o.rest), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640); err != nil {
		o.fail(err)
	}
	return o
}

func (o *Output) fail(err error) {
	if !o.failed {
		o.rec.Lose("output of "+o.name, fmt.Errorf("write evidence file: %w", err))
	}
	o.failed = true
}

// Write keeps a part of the output.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return len(p), nil
	}
	n, err := o.file.Write(p)
	o.offset += int64(n)
	o.lines += bytes.Count(p[:n], []byte("\n"))
	if err != nil {
		o.fail(err)
	}
	if o.timer == nil {
		o.index()
		o.timer = time.AfterFunc(indexEvery, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.timer = nil
			o.index()
		})
	}
	return len(p), nil
}

func (o *Output) index() {
	if o.offset == o.indexed {
		return
	}
	o.rec.Append(0, timeline.Body{Logs: &timeline.Logs{
		Name: o.name, File: o.rec.Name(o.rest), Offset: o.indexed, Bytes: o.offset - o.indexed, Lines: o.lines,
	}})
	o.indexed, o.lines = o.offset, 0
}

// Close records the rest.
func (o *Output) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timer != nil {
		o.timer.Stop()
	}
	o.index()
	if o.file != nil {
		o.file.Close()
		o.file = nil
	}
}
