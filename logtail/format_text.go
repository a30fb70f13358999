package logtail

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

// parseCRI reads "2016-10-06T00:17:09.669794202Z stdout F message"
// (kubernetes, CRI logging format). The tag is P for a part of a message that
// goes on in the next line, F for a whole or its last part; more tags may
// follow it after a colon.
func parseCRI(line []byte) (Entry, error) {
	raw, rest, _ := bytes.Cut(line, []byte(" "))
	stream, rest, _ := bytes.Cut(rest, []byte(" "))
	tags, message, _ := bytes.Cut(rest, []byte(" "))
	tag, _, _ := bytes.Cut(tags, []byte(":"))
	e := Entry{Stream: string(stream), Message: string(message)}
	if e.Stream != "stdout" && e.Stream != "stderr" {
		return Entry{}, fmt.Errorf("stream %s: want stdout or stderr", quote(stream))
	}
	switch string(tag) {
	case "P":
		e.Partial = true
	case "F":
	default:
		return Entry{}, fmt.Errorf("tag %s: want P or F", quote(tag))
	}
	err := e.setTime(string(raw))
	return e, err
}

// parseBeatsText reads "time\tLEVEL\t[logger]\tfile.go:12\tmessage\t{fields}"
// of Filebeat 6 and 7 (libbeat/logp/encoding.go, bracketedNameEncoder). Logger
// and place may be missing; fields stay with the message.
func parseBeatsText(line []byte) (Entry, error) {
	raw, rest, ok := strings.Cut(string(line), "\t")
	if !ok {
		return Entry{}, errors.New("no tab after the time")
	}
	level, rest, ok := strings.Cut(rest, "\t")
	if !ok {
		return Entry{}, errors.New("no tab after the level")
	}
	var e Entry
	if err := e.setLevel(level); err != nil {
		return Entry{}, err
	}
	if first, after, ok := strings.Cut(rest, "\t"); ok && strings.HasPrefix(first, "[") && strings.HasSuffix(first, "]") {
		rest = after
	}
	if first, after, ok := strings.Cut(rest, "\t"); ok && isPlace(first) {
		rest = after
	}
	e.Message = rest
	err := e.setTime(raw)
	return e, err
}

// isPlace reports whether s is a place in Go source, such as log/log.go:145.
func isPlace(s string) bool {
	_, number, ok := strings.Cut(s, ".go:")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// parseLogstash reads "[time][LEVEL][logger][pipeline][plugin] message" of
// Logstash (config/log4j2.properties, "[%d{ISO8601}][%-5p][%-25c]…%m"). Its
// time is the local one and names no zone.
func parseLogstash(line []byte) (Entry, error) {
	var parts []string
	rest := string(line)
	for strings.HasPrefix(rest, "[") {
		part, after, ok := strings.Cut(rest[1:], "]")
		if !ok {
			break
		}
		parts, rest = append(parts, part), after
	}
	if len(parts) < 3 {
		return Entry{}, errors.New("want [time][LEVEL][logger] message")
	}
	e := Entry{RawTime: parts[0], NoZone: true, Message: strings.TrimLeft(rest, " ")}
	if err := e.setLevel(strings.TrimRight(parts[1], " ")); err != nil {
		return Entry{}, err
	}
	at, err := time.Parse("2006-01-02T15:04:05.999", strings.Replace(parts[0], ",", ".", 1))
	if err != nil {
		return Entry{}, fmt.Errorf("time %s: want such as 2026-11-21T12:00:00,123", quote([]byte(parts[0])))
	}
	e.Time = at
	return e, nil
}
