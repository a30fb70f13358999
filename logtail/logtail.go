// Package logtail gives the lines of a growing log and loses none in silence.
// Follow reads a file by its name: it keeps reading the one it holds through
// renames, deletion and compression, takes up the one that comes in its place,
// notices truncation, and reports what it could not read as a Gap. FollowGlob
// does so for all files that match a pattern; FollowKernel, FollowJournal and
// FollowStream read what is no file.
//
// A handler that is slow makes reading lag: a file, the kernel's ring and the
// journal are the buffer, and memory does not grow. What is deleted, truncated
// or overwritten before it was reached is a Gap. A stream has no buffer but a
// bounded queue.
//
// A Decoder tells what a line says about its time and message, and a Matcher
// which of them mean something for a TCP connection that ships logs.
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
	Lines int64  // or records, that are known to be lost; 0 where only Bytes tells
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

// LastLines begins that many lines before the end. It looks into the files that
// were rotated away, uncompressed, as far as the newest has fewer.
type LastLines int

// LastDuration begins at the first line that is younger than that by the time
// it carries, looking into rotated files as LastLines does. It finds the place
// by a few reads, however large the file. Where no line carries a time it
// begins at most 1 MiB before the end, and a note says so.
type LastDuration time.Duration

func (LastLines) start()    {}
func (LastDuration) start() {}
func (Whence) start()       {}

// Config says what to follow.
type Config struct {
	// Path names the log: a file, which need not exist yet, nor its directory; a
	// pattern, a unit or a device where another follower than Follow says so.
	Path string
	// Format is that of the lines, by which LastDuration reads their times; empty
	// is detected line by line.
	Format Format
	// From is FromNow if nil.
	From Start
	// Positions, if set, comes first: where it has a position for the log,
	// reading begins there, unless From is a Position itself. It is kept up to
	// date in memory with every read, under the absolute path ("journal:UNIT"
	// for a journal); its owner calls Save.
	Positions *Positions
	// MaxLine is the most bytes of one line that are kept, newline not counted;
	// 1 MiB if 0. It bounds the memory of Follow.
	MaxLine int
	// Poll is the fallback tick, 1 s if 0. File events make reading prompt; the
	// tick covers what they miss. A file that was replaced is read on, since its
	// writer may not have reopened yet: until it gave nothing for 10 ticks, the one
	// replaced last until it is deleted or the next one is replaced.
	Poll time.Duration
	// Patience, for FollowStream, is how long the writer waits for room in a full
	// queue before lines are lost, once until the queue was empty again.
	Patience time.Duration
}

const (
	defaultMaxLine = 1 << 20
	defaultPoll    = time.Second
	lingerTicks    = 10
)

// Follow reads the lines of cfg.Path until ctx is cancelled, then reads what is
// there once more, for three seconds at most, hands on an unfinished line as
// Partial and returns nil. What it left unread is a Gap.
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
	if err := prepare(&cfg, &h); err != nil {
		return err
	}
	path, err := absolute(cfg.Path)
	if err != nil {
		return err
	}
	g := newGroup(cfg, h)
	defer g.close()
	if err := g.follow(cfg.Path, path, cfg.From); err != nil {
		return err
	}
	return g.run(ctx)
}

// prepare checks what a follower was given and puts the defaults in.
func prepare(cfg *Config, h *Handler) error {
	switch {
	case cfg.Path == "":
		return errors.New("follow a log: Path is empty")
	case cfg.MaxLine < 0:
		return fmt.Errorf("follow %q: MaxLine is %d, want 0 or more", cfg.Path, cfg.MaxLine)
	case cfg.Poll < 0:
		return fmt.Errorf("follow %q: Poll is %v, want 0 or more", cfg.Path, cfg.Poll)
	case h.Line == nil:
		return fmt.Errorf("follow %q: Handler has no Line", cfg.Path)
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
	return nil
}

// absolute is not filepath.Abs, which would clean "link/../log": that means
// another file.
func absolute(path string) (string, error) {
	if path[0] == '/' {
		return path, nil
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("follow %q: find the working directory: %w", path, err)
	}
	return wd + "/" + path, nil
}
