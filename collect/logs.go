package collect

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"halfopen/logtail"
	"halfopen/timeline"
)

// Logs follows a log, copies its lines as they are into an evidence file, and
// records which lines mean something.
type Logs struct {
	Name string // filebeat, logstash
	Path string
	From logtail.Start
}

// indexEvery is how often the copy is flushed and an index record written.
const indexEvery = 500 * time.Millisecond

// maxQuote is how much of a line an Event carries.
const maxQuote = 1 << 10

// Run follows the log until ctx ends.
func (l *Logs) Run(ctx context.Context, rec *Recorder) error {
	rest := l.Name + "-container.log"
	// A program that was restarted goes on in the same file.
	f, err := os.OpenFile(rec.Path(rest), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("create evidence file: %w", err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("open evidence file: %w", err)
	}
	c := &logCopy{name: l.Name, file: rec.Name(rest), rec: rec, out: bufio.NewWriterSize(f, 256<<10), offset: size, indexed: size}

	flushing, stop := context.WithCancel(ctx)
	var flusher sync.WaitGroup
	flusher.Go(func() { every(flushing, indexEvery, c.index) })
	err = logtail.Follow(ctx, logtail.Config{Path: l.Path, From: l.From}, logtail.Handler{
		Line: c.line,
		Gap: func(g logtail.Gap) {
			rec.Append(0, timeline.Body{Gap: &timeline.Gap{Source: "log of " + l.Name, Lost: g.Bytes, Why: g.Why}})
		},
		Note: func(note string) {
			rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: "log of " + l.Name + ": " + note}})
		},
	})
	stop()
	flusher.Wait()
	c.index()
	if err != nil {
		rec.Fail("log of "+l.Name, 0, err) // the rest of the recording goes on
	}
	return nil
}

// logCopy is the evidence file of a log.
type logCopy struct {
	name string
	file string
	rec  *Recorder

	mu      sync.Mutex
	out     *bufio.Writer
	offset  int64 // bytes of the file
	indexed int64 // of them, in a Logs record
	lines   int   // since then
}

func (c *logCopy) line(l logtail.Line) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.offset
	n, err := c.out.Write(l.Bytes)
	c.offset += int64(n)
	if err == nil && !l.Partial {
		err = c.out.WriteByte('\n')
		c.offset++
	}
	if err != nil {
		return fmt.Errorf("copy log line: %w", err)
	}
	c.lines++
	if l.Cut {
		c.rec.Append(0, timeline.Body{Gap: &timeline.Gap{
			Source: "log of " + c.name, Lost: l.Size - int64(len(l.Bytes)) - 1, Why: fmt.Sprintf("a line of %d bytes was cut", l.Size),
		}})
	}
	if p, ok := logtail.Match(string(l.Bytes)); ok {
		c.event(p, l, at)
	}
	return nil
}

func (c *logCopy) event(p logtail.Pattern, l logtail.Line, at int64) {
	e := &timeline.Event{
		Name: c.name, Pattern: p.Name, Means: p.Means, File: c.file, Offset: at,
		Line: string(l.Bytes[:min(len(l.Bytes), maxQuote)]),
	}
	if entry, err := logtail.Detect(l.Bytes).Parse(l.Bytes); err == nil && !entry.Time.IsZero() {
		e.Logged = &entry.Time
	}
	c.rec.Append(0, timeline.Body{Event: e})
}

// index flushes the copy and records what was added since the last time.
func (c *logCopy) index() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines == 0 {
		return
	}
	if err := c.out.Flush(); err != nil {
		c.rec.Fail("log of "+c.name, 0, fmt.Errorf("copy log lines: %w", err))
		return
	}
	c.rec.Append(0, timeline.Body{Logs: &timeline.Logs{
		Name: c.name, File: c.file, Offset: c.indexed, Bytes: c.offset - c.indexed, Lines: c.lines,
	}})
	c.indexed, c.lines = c.offset, 0
}
