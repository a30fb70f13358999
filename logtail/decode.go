package logtail

import (
	"math"
	"time"
)

// TimeFrom says where the time of a message comes from.
type TimeFrom string

const (
	TimeOfLine    TimeFrom = "line"    // the program wrote it
	TimeOfEngine  TimeFrom = "engine"  // the container engine or journald stamped the line
	TimeOfReading TimeFrom = "reading" // the line has none; it is when the line was read
)

// Message is what a line says, or several that a container engine made of one.
type Message struct {
	Entry             // of the innermost format; Time is set always, and UTC
	TimeFrom TimeFrom // where Time comes from; RawTime is as written there
	Format   Format   // of the line: docker-json
	Inner    Format   // of what a container engine or journald wrapped: beats-ecs; empty where nothing is wrapped
	File     string   // of the first line
	Inode    uint64   // of the first line
	Offset   int64    // of the first line, in bytes
	Lines    int      // that it was joined from, at least 1
	Last     Line     // of those; its Bytes are valid until the next call, those of Flush are the first 1 KiB
	Cut      bool     // longer than was kept
}

// Decoder turns the lines of one or several logs into messages: it detects the
// format, joins what a container engine has split, looks into what it wrapped,
// and gives every message a time. The zero value is ready to use. Its memory is
// bounded: 1 MiB of a message, 8 MiB of unfinished ones together.
type Decoder struct {
	// Format is that of all lines; empty: detected line by line.
	Format Format
	// Zone is that of times that name none; time.Local if nil.
	Zone *time.Location

	joiner joiner
	last   struct {
		file   string
		kernel bool // its line was of a record of the kernel
	}
}

// Decode takes the next line, read at the time given. ok is false if the line
// is no message of its own: a part of one that goes on, or a property of the
// kernel's record before. A line that is not of the named Format is a message
// as it stands, in Format Plain.
func (d *Decoder) Decode(l Line, read time.Time) (m Message, ok bool) {
	inKernel := d.Format == Kernel || d.last.kernel && d.last.file == l.File
	if inKernel && len(l.Bytes) > 0 && l.Bytes[0] == ' ' {
		return Message{}, false
	}
	format := d.Format
	if format == "" {
		format = Detect(l.Bytes)
	}
	e, err := format.Parse(l.Bytes)
	if err != nil {
		format, e = Plain, Entry{Message: string(trimEnd(l.Bytes))}
	}
	d.last.file, d.last.kernel = l.File, format == Kernel
	m = Message{Entry: e, Format: format, File: l.File, Inode: l.Inode, Offset: l.Offset, Lines: 1, Last: l, Cut: l.Cut}
	if format == DockerJSON || format == CRI {
		if m, ok = d.joiner.join(m); !ok {
			return Message{}, false
		}
	}
	m.Partial = m.Partial || l.Partial
	return d.finish(m, read), true
}

// Flush gives the messages whose last part has not come, Partial set.
func (d *Decoder) Flush(read time.Time) []Message {
	all := d.joiner.flush()
	for i, m := range all {
		all[i] = d.finish(m, read)
	}
	return all
}

// finish looks into what was wrapped and sets the time.
func (d *Decoder) finish(m Message, read time.Time) Message {
	m.TimeFrom = TimeOfLine
	switch m.Format {
	case DockerJSON, CRI, Journal:
		m.TimeFrom = TimeOfEngine
		d.unwrap(&m)
	case Stamped:
		d.unwrap(&m)
	case Kernel:
		m.Time = wallTime(m.Uptime, read)
	}
	switch {
	case m.Time.IsZero():
		m.Time, m.TimeFrom = read.UTC(), TimeOfReading
	case m.NoZone:
		zone := d.Zone
		if zone == nil {
			zone = time.Local
		}
		m.Time = m.in(zone)
	}
	return m
}

// unwrap replaces what the engine says by what the program wrote, except a time
// without a zone: the engine's is sure.
func (d *Decoder) unwrap(m *Message) {
	line := []byte(m.Message)
	format := Detect(line)
	if m.Format == Stamped && (format == Plain || format == Stamped) {
		return // the program's own time
	}
	m.Inner = format
	inner, err := format.Parse(line)
	if err != nil || format == Plain {
		return
	}
	m.Message = inner.Message
	if inner.Level != "" {
		m.Level = inner.Level
	}
	if !inner.Time.IsZero() && !inner.NoZone {
		m.Time, m.RawTime, m.TimeFrom = inner.Time, inner.RawTime, TimeOfLine
	}
}

// wallTime is when a record of the kernel was written, by the clocks as they
// are now: wrong by the time suspended or the clock's steps since. Never later
// than it was read. A thread may stand still between the readings of two clocks: they are
// read again then, twice at most, and those taken that came closest together.
func wallTime(up time.Duration, read time.Time) time.Time {
	var at time.Time
	least := time.Duration(math.MaxInt64)
	for try := 0; try < 3 && least > 100*time.Microsecond; try++ {
		began, now := uptime(), time.Now()
		if took := uptime() - began; took < least {
			least, at = took, now.Add(up-began)
		}
	}
	if at.After(read) {
		at = read
	}
	return at.UTC()
}
