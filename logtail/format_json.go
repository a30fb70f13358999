package logtail

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Keys as gjson paths: a dot in a key and a leading @ are escaped.
const (
	ecsTime  = `\@timestamp`
	ecsLevel = `log\.level`
)

// detectJSON tells the JSON formats apart by the keys each must have.
func detectJSON(line []byte) Format {
	if !isObject(line) {
		return Plain
	}
	has := func(key string) bool { return gjson.GetBytes(line, key).Type == gjson.String }
	switch {
	case has("log") && has("time"):
		return DockerJSON
	case has(ecsTime) && has("message"):
		return BeatsECS
	case has("timestamp") && has("level") && has("message"):
		return BeatsJSON
	case gjson.GetBytes(line, "timeMillis").Type == gjson.Number && has("logEvent.message"):
		return LogstashJSON
	case has("__CURSOR") && has(journalTime):
		return Journal
	}
	return Plain
}

// parseDocker reads a line of Docker's json-file driver
// (moby, daemon/logger/jsonfilelog/jsonlog): a message that ends in no newline
// was split at 16 KiB.
func parseDocker(line []byte) (Entry, error) {
	if !isObject(line) {
		return Entry{}, errNoObject
	}
	log, err := field(line, "log", true)
	if err != nil {
		return Entry{}, err
	}
	stream, err := field(line, "stream", false)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Stream: stream, Message: log, Partial: !strings.HasSuffix(log, "\n")}
	if !e.Partial {
		e.Message = strings.TrimRight(log, "\r\n")
	}
	err = e.timeField(line, "time")
	return e, err
}

// parseBeatsECS reads a line of Filebeat 8 and later, or of any program that
// logs by the Elastic Common Schema. The level may be nested.
func parseBeatsECS(line []byte) (Entry, error) {
	return parseBeats(line, ecsTime, ecsLevel, "log.level")
}

// parseBeatsJSON reads a line of Filebeat 6 or 7 with logging.json: true
// (libbeat/logp/encoding.go, baseEncodingConfig).
func parseBeatsJSON(line []byte) (Entry, error) { return parseBeats(line, "timestamp", "level") }

func parseBeats(line []byte, timeKey string, levelKeys ...string) (Entry, error) {
	if !isObject(line) {
		return Entry{}, errNoObject
	}
	message, err := field(line, "message", true)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Message: message}
	for _, key := range levelKeys {
		level, err := field(line, key, false)
		if err != nil {
			return Entry{}, err
		}
		if level == "" {
			continue
		}
		if err := e.setLevel(level); err != nil {
			return Entry{}, err
		}
		break
	}
	err = e.timeField(line, timeKey)
	return e, err
}

// parseLogstashJSON reads a line of Logstash with log.format: json
// (logstash-core, org/logstash/log/CustomLogEventSerializer.java).
func parseLogstashJSON(line []byte) (Entry, error) {
	if !isObject(line) {
		return Entry{}, errNoObject
	}
	message, err := field(line, "logEvent.message", true)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Message: message}
	level, err := field(line, "level", false)
	if err == nil && level != "" {
		err = e.setLevel(level)
	}
	if err != nil {
		return Entry{}, err
	}
	raw := gjson.GetBytes(line, "timeMillis").Raw
	millis, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("timeMillis %s: want milliseconds since 1970", quote([]byte(raw)))
	}
	e.Time, e.RawTime = time.UnixMilli(millis).UTC(), raw
	return e, nil
}

var errNoObject = errors.New("not a JSON object")

func isObject(line []byte) bool {
	return len(line) > 0 && line[0] == '{' && shallow(line) && gjson.ValidBytes(line)
}

// maxDepth is how deep lists and objects may lie in each other. gjson's check
// recurs: a line of 1 MiB of "[" would take 130 MiB of stack.
const maxDepth = 64

func shallow(line []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(line) && depth <= maxDepth; i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return depth <= maxDepth
}

func (e *Entry) timeField(line []byte, key string) error {
	raw, err := field(line, key, true)
	if err != nil {
		return err
	}
	return e.setTime(raw)
}

// field gives a string of a JSON object; "" if it is absent and need not be there.
func field(line []byte, key string, needed bool) (string, error) {
	switch v := gjson.GetBytes(line, key); {
	case v.Type == gjson.String:
		return v.Str, nil
	case v.Exists() || needed:
		return "", fmt.Errorf("key %q is no string", strings.ReplaceAll(key, `\`, ""))
	}
	return "", nil
}
