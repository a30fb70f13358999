package collect

import (
	"context"
	"os"
	"strings"
	"time"

	"halfopen/logtail"
	"halfopen/timeline"
)

// Logs follows a log, copies its lines as they are into an evidence file, and
// records which lines mean something.
type Logs struct {
	Name string // whose it is: filebeat, logstash, kernel
	// Path is a file, a pattern of files, JournalPrefix and a unit, KernelPath, or
	// what Follow understands.
	Path string
	// Copy ends the name of the evidence file, without ".log"; empty is "container".
	Copy   string
	Format logtail.Format // of the lines; empty is detected line by line
	From   logtail.Start
	Set    *LogSet // nil is a set of its own
	// Follow reads the log; nil chooses by Path.
	Follow func(context.Context, logtail.Config, logtail.Handler) error
	// Prompt has each line written within milliseconds, where only the copy keeps it:
	// after kill -9 it is there.
	Prompt bool
	// Seen, if set, is called with every line as the program wrote it, out of what a
	// container engine wraps around it, and with its time, which is that of the
	// reading where the line has none. The bytes are valid only during the call.
	Seen func(line []byte, at time.Time)

	read logtail.Position // what was read last, Inode 0 for nothing; to be asked when Run has ended
	at   time.Time        // of that
}

// What Path is besides a file.
const (
	JournalPrefix   = "journal:"   // and a systemd unit
	ContainerPrefix = "container:" // and a name or id; Follow has to be set
	KernelPath      = "kmsg:"
)

// Run follows the log until ctx ends.
func (l *Logs) Run(ctx context.Context, rec *Recorder) error {
	set := l.Set
	if set == nil {
		set = &LogSet{}
	}
	c := openCopy(rec, l.Name, l.copyName())
	c.prompt = l.Prompt
	e := newLogEvents(l, set.matcher(), c)
	end := set.add(ctx, rec, c)
	err := l.follow(ctx, logtail.Config{Path: l.target(), Format: l.Format, From: l.From, Positions: set.Positions}, logtail.Handler{
		Line: func(line logtail.Line) error {
			l.reached(line)
			e.line(line)
			return nil
		},
		Gap: func(g logtail.Gap) {
			lost := g.Bytes
			if lost == 0 && g.Lines > 0 {
				lost = -1 // bytes are what counts
			}
			c.gap(timeline.Gap{Lost: lost, Lines: g.Lines, File: g.File, Why: g.Why})
		},
		Note: func(note string) {
			rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: c.source + ": " + note}})
		},
	})
	e.end()
	end()
	if err != nil {
		rec.Fail(c.source, 0, err) // the rest of the recording goes on
	}
	return nil
}

func (l *Logs) copyName() string {
	if l.Copy == "" {
		return l.Name + "-container.log"
	}
	return l.Name + "-" + l.Copy + ".log"
}

func (l *Logs) follow(ctx context.Context, cfg logtail.Config, h logtail.Handler) error {
	switch {
	case l.Follow != nil:
		return l.Follow(ctx, cfg, h)
	case l.Path == KernelPath:
		return logtail.FollowKernel(ctx, cfg, h)
	case strings.HasPrefix(l.Path, JournalPrefix):
		return logtail.FollowJournal(ctx, cfg, h)
	case logtail.IsGlob(l.Path) && !exists(l.Path):
		return logtail.FollowGlob(ctx, cfg, h)
	}
	return logtail.Follow(ctx, cfg, h)
}

// exists tells a file whose name has the characters of a pattern in it.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// target is Path as logtail takes it.
func (l *Logs) target() string {
	if l.Path == KernelPath {
		return ""
	}
	return strings.TrimPrefix(l.Path, JournalPrefix)
}

// reached notes where the next life of the program goes on. An unfinished line is
// read again.
func (l *Logs) reached(line logtail.Line) {
	l.read, l.at = logtail.Position{Inode: line.Inode, Offset: line.Offset}, time.Now()
	if !line.Partial {
		l.read.Offset += line.Size
	}
}
