package logtail

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Format is the way a program or a container engine writes one line of log.
type Format string

const (
	Plain         Format = "plain"          // the line is the message
	DockerJSON    Format = "docker-json"    // Docker's json-file driver
	CRI           Format = "cri"            // containerd, CRI-O: "time stream P|F message"
	BeatsText     Format = "beats-text"     // Filebeat 6 and 7: fields between tabs
	BeatsJSON     Format = "beats-json"     // Filebeat 6 and 7 with logging.json
	BeatsECS      Format = "beats-ecs"      // Filebeat 8 and later, 7 with logging.ecs
	LogstashPlain Format = "logstash-plain" // Logstash, log.format plain
	LogstashJSON  Format = "logstash-json"  // Logstash, log.format json
	Kernel        Format = "kernel"         // /dev/kmsg: "prio,seq,usec,flags;message", properties after a space
	Journal       Format = "journal"        // journalctl -o json
	ALB           Format = "alb"            // access log of an AWS Application Load Balancer
	AccessLog     Format = "access"         // access log of nginx or Apache, common or combined
	Stamped       Format = "stamped"        // an RFC 3339 time, a space, the message
)

// formats are all of them, by name.
var formats = map[Format]func(line []byte) (Entry, error){
	Plain:         func(line []byte) (Entry, error) { return Entry{Message: string(line)}, nil },
	DockerJSON:    parseDocker,
	CRI:           parseCRI,
	BeatsText:     parseBeatsText,
	BeatsJSON:     parseBeatsJSON,
	BeatsECS:      parseBeatsECS,
	LogstashPlain: parseLogstash,
	LogstashJSON:  parseLogstashJSON,
	Kernel:        parseKernel,
	Journal:       parseJournal,
	ALB:           parseALB,
	AccessLog:     parseAccess,
	Stamped:       parseStamped,
}

// Entry is what one line says.
type Entry struct {
	Time    time.Time     // UTC; zero: the line carries none
	RawTime string        // as written
	NoZone  bool          // RawTime names no zone: Time is its digits read as UTC, and may be hours off
	Uptime  time.Duration // of the kernel's log: since boot, which it has instead of Time
	Stream  string        // stdout or stderr, where a container engine wrote the line
	Level   string        // lower case: debug, info, warn, error …
	Message string        // may be in a Format of its own, behind a container engine's
	Partial bool          // the message goes on in the next line of the stream
}

// ParseFormat gives the format of this name. The error lists the names.
func ParseFormat(name string) (Format, error) {
	if formats[Format(name)] == nil {
		return "", fmt.Errorf("no format of log lines is named %q; want one of %v", name, slices.Sorted(maps.Keys(formats)))
	}
	return Format(name), nil
}

// Detect tells by looking at a line which format it has; Plain if it has none
// of the others. Formats can alternate within a file: a panic trace is Plain.
func Detect(line []byte) Format {
	line = trimEnd(line)
	if len(line) == 0 {
		return Plain
	}
	switch c := line[0]; {
	case c == '{':
		return detectJSON(line)
	case c == '[':
		if _, err := parseLogstash(line); err == nil {
			return LogstashPlain
		}
	case c == 'h' || c == 'g' || c == 'w':
		if _, err := parseALB(line); err == nil {
			return ALB
		}
	case '0' <= c && c <= '9':
		for _, f := range []Format{CRI, BeatsText, Stamped, Kernel} {
			if _, err := formats[f](line); err == nil {
				return f
			}
		}
	}
	if _, err := parseAccess(line); err == nil {
		return AccessLog
	}
	return Plain
}

// Parse reads a line of this format, with or without its newline. The error
// quotes the line, at most 200 bytes of it.
func (f Format) Parse(line []byte) (Entry, error) {
	line = trimEnd(line)
	parse := formats[f]
	if parse == nil {
		return Entry{}, fmt.Errorf("parse a log line: no format is named %q", string(f))
	}
	e, err := parse(line)
	if err != nil {
		return Entry{}, fmt.Errorf("parse %s line %s: %w", f, quote(line), err)
	}
	return e, nil
}

// in gives the time, with the digits of one that names no zone read in zone.
func (e Entry) in(zone *time.Location) time.Time {
	if !e.NoZone {
		return e.Time
	}
	y, m, d := e.Time.Date()
	h, min, sec := e.Time.Clock()
	return time.Date(y, m, d, h, min, sec, e.Time.Nanosecond(), zone).UTC()
}

// quote quotes at most 200 bytes of a line.
func quote(line []byte) string {
	const most = 200
	if len(line) <= most {
		return fmt.Sprintf("%q", line)
	}
	return fmt.Sprintf("%q… (%d bytes)", line[:most], len(line))
}

func trimEnd(line []byte) []byte { return bytes.TrimRight(line, "\r\n") }

// setTime parses raw, RFC 3339 or the ISO 8601 of Beats, whose zone has no
// colon (libbeat/logp/encoding.go, zapcore.ISO8601TimeEncoder).
func (e *Entry) setTime(raw string) error {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if t, err := time.Parse(layout, raw); err == nil {
			e.Time, e.RawTime = t.UTC(), raw
			return nil
		}
	}
	return fmt.Errorf("time %s: want such as 2026-11-21T12:00:00.000Z", quote([]byte(raw)))
}

// setLevel takes a level of letters only.
func (e *Entry) setLevel(raw string) error {
	if raw == "" || strings.Trim(raw, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "" {
		return fmt.Errorf("level %s: want letters", quote([]byte(raw)))
	}
	e.Level = strings.ToLower(raw)
	return nil
}
