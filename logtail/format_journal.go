package logtail

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Times of a journal entry in microseconds since 1970, as strings: when
// journald received it, and when the program says that it happened.
const (
	journalTime       = "__REALTIME_TIMESTAMP"
	journalSourceTime = "_SOURCE_REALTIME_TIMESTAMP"
)

// parseJournal reads an entry as journalctl -o json writes it
// (systemd.journal-fields(7); systemd, Journal JSON format).
func parseJournal(line []byte) (Entry, error) {
	if !isObject(line) {
		return Entry{}, errNoObject
	}
	message, err := journalText(gjson.GetBytes(line, "MESSAGE"))
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Message: message}
	if p := gjson.GetBytes(line, "PRIORITY").Str; len(p) == 1 && '0' <= p[0] && p[0] <= '7' {
		e.Level = syslogLevels[p[0]-'0']
	}
	raw, err := field(line, journalSourceTime, false)
	if err == nil && raw == "" {
		raw, err = field(line, journalTime, true)
	}
	if err != nil {
		return Entry{}, err
	}
	micros, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("time %s: want microseconds since 1970", quote([]byte(raw)))
	}
	e.Time, e.RawTime = time.UnixMicro(micros).UTC(), raw
	return e, nil
}

// journalText gives a field, which is a string; numbers, one a byte, where it
// is not UTF-8; strings, where the entry has the field more than once; null,
// where it was longer than journalctl shows; or absent.
func journalText(v gjson.Result) (string, error) {
	switch {
	case v.Type == gjson.String:
		return v.Str, nil
	case v.Type == gjson.Null:
		return "", nil
	case !v.IsArray():
		return "", errors.New("MESSAGE is neither text nor a list")
	}
	var b strings.Builder
	var err error
	v.ForEach(func(_, part gjson.Result) bool {
		if part.Type == gjson.Number {
			if part.Num != float64(byte(part.Num)) {
				err = fmt.Errorf("MESSAGE has %s, which is no byte", quote([]byte(part.Raw)))
				return false
			}
			b.WriteByte(byte(part.Num))
			return true
		}
		var text string
		if text, err = journalText(part); err != nil {
			return false
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(text)
		return true
	})
	return b.String(), err
}
