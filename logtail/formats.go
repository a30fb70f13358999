package logtail

import (
	"bytes"
	"fmt"
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
)

// Entry is what one line says.
type Entry struct {
	Time    time.Time // UTC; zero: the line carries none
	RawTime string    // as written
	NoZone  bool      // RawTime names no zone: Time is its digits read as UTC, and may be hours off
	Stream  string    // stdout or stderr, where a container engine wrote the line
	Level   string    // lower case: debug, info, warn, error …
	Message string    // may be in a Format of its own, behind a container engine's
	Partial bool      // the engine split the message; the next line of the stream goes on
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
	case '0' <= c && c <= '9':
		if _, err := parseCRI(line); err == nil {
			return CRI
		}
		if _, err := parseBeatsText(line); err == nil {
			return BeatsText
		}
	}
	return Plain
}

// Parse reads a line of this format, with or without its newline. The error
// quotes the line, at most 200 bytes of it.
func (f Format) Parse(line []byte) (Entry, error) {
	line = trimEnd(line)
	var (
		e   Entry
		err error
	)
	switch f {
	case Plain:
		e.Message = string(line)
	case DockerJSON:
		e, err = parseDocker(line)
	case CRI:
		e, err = parseCRI(line)
	case BeatsText:
		e, err = parseBeatsText(line)
	case BeatsJSON:
		e, err = parseBeatsJSON(line)
	case BeatsECS:
		e, err = parseBeatsECS(line)
	case LogstashPlain:
		e, err = parseLogstash(line)
	default:
		return Entry{}, fmt.Errorf("parse a log line: no format is named %q", string(f))
	}
	if err != nil {
		return Entry{}, fmt.Errorf("parse %s line %s: %w", f, quote(line), err)
	}
	return e, nil
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
