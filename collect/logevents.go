package collect

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"halfopen/clock"
	"halfopen/logtail"
	"halfopen/timeline"
)

const (
	// maxQuote is how much of a line an Event carries.
	maxQuote = 1 << 10
	// maxEvents is how many lines of a log may become events in a second; those
	// beyond are in the copy alone.
	maxEvents = 500
)

// logEvents tells what the lines of a log mean. One goroutine uses it.
type logEvents struct {
	copy    *logCopy
	matcher *logtail.Matcher
	decoder logtail.Decoder
	seen    func([]byte, time.Time)
	began   time.Time // of the recording
	old     oldLines

	second  time.Time // that events are counted in
	events  int
	skipped int64
}

func newLogEvents(l *Logs, m *logtail.Matcher, c *logCopy) *logEvents {
	return &logEvents{copy: c, matcher: m, decoder: logtail.Decoder{Format: l.Format}, seen: l.Seen, began: c.rec.began, old: oldLinesOf(l.Path, c.rec.began)}
}

// line copies a line and tells what it means. A message of several lines is told
// of by its last one.
func (e *logEvents) line(l logtail.Line) {
	now := time.Now()
	past := e.old.has(l)
	c := copied{source: l.File, inode: l.Inode, offset: l.Offset, size: l.Size, bytes: l.Bytes, open: l.Partial, read: clock.Mono()}
	m, ok := e.decoder.Decode(l, now)
	if ok {
		if e.seen != nil {
			e.seen(asWritten(m, l), m.Time)
		}
		for _, p := range e.matcher.Match(m.Message) {
			if e.within(now) {
				c.events = append(c.events, e.event(p, m, past))
			}
		}
	}
	e.copy.put(c)
	if l.Cut {
		lost := l.Size - int64(len(l.Bytes))
		if !l.Partial {
			lost-- // the newline
		}
		e.copy.gap(timeline.Gap{Lost: lost, File: l.File, Why: "a line longer than the limit was cut"})
	}
}

// end tells of the messages whose last part never came.
func (e *logEvents) end() {
	now := time.Now()
	for _, m := range e.decoder.Flush(now) {
		for _, p := range e.matcher.Match(m.Message) {
			if e.within(now) {
				e.copy.rec.Append(0, timeline.Body{Event: e.event(p, m, e.old.has(m.Last))})
			}
		}
	}
	e.tellSkipped()
}

// within counts an event, and reports whether it is one of the first of its
// second.
func (e *logEvents) within(now time.Time) bool {
	if now.Sub(e.second).Abs() >= time.Second {
		e.tellSkipped()
		e.second, e.events = now, 0
	}
	if e.events++; e.events > maxEvents {
		e.skipped++
		return false
	}
	return true
}

func (e *logEvents) tellSkipped() {
	if e.skipped > 0 {
		e.copy.gap(timeline.Gap{Lost: e.skipped, Lines: e.skipped, Why: "events: more lines in a second mean something than are recorded; the copy has them"})
	}
	e.skipped = 0
}

func (e *logEvents) event(p logtail.Pattern, m logtail.Message, past bool) *timeline.Event {
	l := m.Last
	ev := &timeline.Event{
		Name: e.copy.name, Pattern: p.Name, Means: p.Means,
		Line: quoted(string(l.Bytes[:min(len(l.Bytes), maxQuote)])), Source: l.File, SourceInode: l.Inode, SourceOffset: l.Offset,
		LoggedAs: m.RawTime, NoZone: m.NoZone, Stream: m.Stream, Past: past,
	}
	if m.Inner != "" || m.Lines > 1 {
		ev.Message = quoted(m.Message)
	}
	if m.TimeFrom != logtail.TimeOfReading {
		ev.Logged = &m.Time
		ev.Past = m.Time.Before(e.began) && !m.NoZone || past
		if m.TimeFrom == logtail.TimeOfEngine {
			ev.LoggedBy = string(m.TimeFrom)
		}
	}
	return ev
}

// quoted is what an Event carries of a text, not what it was cut from.
func quoted(s string) string { return strings.Clone(s[:min(len(s), maxQuote)]) }

// asWritten is the line as the program wrote it: m.Message lacks its fields and
// its time.
func asWritten(m logtail.Message, l logtail.Line) []byte {
	if m.Inner == "" {
		return l.Bytes
	}
	if m.Lines > 1 {
		return []byte(m.Message)
	}
	entry, err := m.Format.Parse(l.Bytes)
	if err != nil {
		return l.Bytes
	}
	return []byte(entry.Message)
}

// oldLines tells the lines that the files of a log had when its reading began, by
// the names of those files. What was made since the recording began is new.
type oldLines map[string]*oldFile

type oldFile struct {
	inode uint64
	size  int64
	met   bool // a line of it has come
}

func oldLinesOf(path string, began time.Time) oldLines {
	paths := []string{path}
	if logtail.IsGlob(path) && !exists(path) {
		if abs, err := filepath.Abs(path); err == nil {
			paths, _ = filepath.Glob(abs) // a pattern that is none is refused where it is followed
		}
	}
	old := oldLines{}
	for _, path := range paths {
		st, err := os.Stat(path)
		if err == nil && st.Mode().IsRegular() && !look(path).born.After(began.Add(-stampTick)) {
			old[path] = &oldFile{inode: inodeOf(st), size: st.Size()}
		}
	}
	return old
}

// has reports whether a line is one of them, or of a file that was rotated away
// before.
func (o oldLines) has(l logtail.Line) bool {
	f := o[l.File]
	switch {
	case f == nil:
		return false
	case f.inode == l.Inode:
		f.met = true
		return l.Offset < f.size
	}
	return !f.met
}

func inodeOf(st os.FileInfo) uint64 {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return sys.Ino
}
