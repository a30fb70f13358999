// Package logtail gives the lines of a growing log and loses none in silence: it
// keeps reading the file it holds through renames, deletion and compression,
// takes up the file that comes in its place, notices truncation, and reports
// what it could not read as a Gap. Beside that it tells what a line says about
// its time and message (Detect, Format.Parse) and which lines mean something
// for a TCP connection that ships logs (Match).
package logtail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// Line is one line of a followed file.
type Line struct {
	File    string // path as followed
	Offset  int64  // of the line's first byte in the file it was read from, in bytes
	Inode   uint64 // of that file; a rotation changes it
	Bytes   []byte // the line without its newline; valid only during the call
	Size    int64  // bytes the line took in the file, newline included
	Cut     bool   // longer than MaxLine: Bytes holds the first MaxLine bytes, the rest was skipped up to the newline
	Partial bool   // no newline: the file ended in mid-line (rotation, deletion, truncation), or Follow did
}

// Gap is a stretch of the log that existed, or may have existed, and could not
// be read.
type Gap struct {
	File  string // path as followed
	Bytes int64  // that are known to be lost; -1 when their number, perhaps 0, cannot be known
	Why   string // one sentence
}

// Handler receives what Follow reads. All calls come from the goroutine that
// runs Follow, in the order of the log.
type Handler struct {
	// Line is called for every line. An error ends Follow, which returns it.
	Line func(Line) error
	// Gap, if set, is called where bytes were lost: after the lines before the
	// loss, before those after it.
	Gap func(Gap)
	// Note, if set, is told of changes worth a record: the file appeared,
	// rotated, cannot be read, or is polled because it cannot be watched.
	Note func(string)
}

// Start says where in the file that exists at the start reading begins. A file
// that appears later is read from its beginning.
type Start interface{ start() }

// Whence is a Start that needs no further detail.
type Whence int

const (
	FromNow       Whence = iota // after the last whole line: the line being written is read whole
	FromBeginning               // at the first byte
)

// FromOffset continues where an earlier Follow ended: Offset is the end of the
// last whole line of the newest file (Line.Offset + Line.Size).
// If the name has been rotated away since, the file is looked for beside it
// (name.1, name-20261121), and every later one that is still there is read too.
type FromOffset struct {
	Inode  uint64
	Offset int64 // bytes
}

func (Whence) start()     {}
func (FromOffset) start() {}

// Config says what to follow.
type Config struct {
	// Path names the log. Neither it nor its directory need exist yet.
	Path string
	// From is FromNow if nil.
	From Start
	// MaxLine is the most bytes of one line that are kept, newline not counted;
	// 1 MiB if 0. It bounds the memory of Follow.
	MaxLine int
	// Poll is the fallback tick, 1 s if 0. File events make reading prompt; the
	// tick covers what they miss. A file that was replaced is read on until it
	// gave nothing for 10 ticks, since its writer may not have reopened yet.
	Poll time.Duration
}

const (
	defaultMaxLine = 1 << 20
	defaultPoll    = time.Second
	lingerTicks    = 10
)

// Follow reads the lines of cfg.Path until ctx is cancelled, then reads what is
// there once more, hands on an unfinished line as Partial and returns nil.
//
// Lines of one file come in order, and those of a rotated file before those of
// its successor, except what its writer still adds after the successor has
// begun. Where a copy made by copytruncate is found beside the log, the bytes
// that only the copy still has are read from it, under its inode.
//
// Not all loss can be seen: a file that was emptied before anything was read
// from it, or that has the same bytes before the position again, looks whole.
// A deleted file keeps its place on the disk until its name is taken by another.
//
// Follow returns an error if cfg is unusable, if the path names something other
// than a regular file when it starts, or if h.Line does. Trouble with the file
// is no error: it is noted and tried again.
func Follow(ctx context.Context, cfg Config, h Handler) error {
	t, err := newTail(cfg, h)
	if err != nil {
		return err
	}
	defer t.close()
	return t.run(ctx)
}

func newTail(cfg Config, h Handler) (*tail, error) {
	switch {
	case cfg.Path == "":
		return nil, errors.New("follow a log: Path is empty")
	case cfg.MaxLine < 0:
		return nil, fmt.Errorf("follow %q: MaxLine is %d, want 0 or more", cfg.Path, cfg.MaxLine)
	case cfg.Poll < 0:
		return nil, fmt.Errorf("follow %q: Poll is %v, want 0 or more", cfg.Path, cfg.Poll)
	case h.Line == nil:
		return nil, fmt.Errorf("follow %q: Handler has no Line", cfg.Path)
	}
	if cfg.From == nil {
		cfg.From = FromNow
	}
	if cfg.MaxLine == 0 {
		cfg.MaxLine = defaultMaxLine
	}
	if cfg.Poll == 0 {
		cfg.Poll = defaultPoll
	}
	if h.Gap == nil {
		h.Gap = func(Gap) {}
	}
	if h.Note == nil {
		h.Note = func(string) {}
	}
	// Not filepath.Abs: it would clean "link/../log", which means another file.
	path := cfg.Path
	if path[0] != '/' {
		wd, err := os.Getwd()
		if err != nil {
			return nil, fmt.Errorf("follow %q: find the working directory: %w", cfg.Path, err)
		}
		path = wd + "/" + path
	}
	t := &tail{cfg: cfg, h: h, path: path, buf: make([]byte, markSize+chunkSize)}
	t.watch = newWatcher(path, func(s string) { t.note("%s", s) })
	return t, nil
}
