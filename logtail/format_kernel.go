package logtail

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// syslogLevels are the names of priorities (include/linux/kern_levels.h).
var syslogLevels = [8]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// parseKernel reads a line of a record of /dev/kmsg,
// "priority,number,microseconds,flags[,more];message", whose odd bytes are
// escaped (Documentation/ABI/testing/dev-kmsg). A line that begins with a space
// is a property of the record before and has no time.
func parseKernel(line []byte) (Entry, error) {
	if bytes.HasPrefix(line, []byte(" ")) {
		return Entry{Message: unescape(string(line[1:]))}, nil
	}
	r, err := parseRecord(line)
	if err != nil {
		return Entry{}, err
	}
	return Entry{
		RawTime: r.stamp, Uptime: r.uptime, Level: syslogLevels[r.priority&7],
		Message: unescape(string(r.text)), Partial: r.fragment,
	}, nil
}

// record is the head of a record of /dev/kmsg.
type record struct {
	priority uint64
	number   uint64        // of the record, since boot
	stamp    string        // microseconds, as written
	uptime   time.Duration // the same; by local_clock(), which stands still in suspend as CLOCK_MONOTONIC does
	fragment bool          // of a line that goes on in a later record
	text     []byte        // of the first line, escaped
}

var errNoRecord = errors.New("want priority,number,microseconds,flags;message")

func parseRecord(line []byte) (r record, err error) {
	head, text, ok := bytes.Cut(line, []byte(";"))
	f := bytes.SplitN(head, []byte(","), 5)
	if !ok || len(f) < 4 || len(head) > 200 {
		return record{}, errNoRecord
	}
	var micros uint64
	for i, into := range []*uint64{&r.priority, &r.number, &micros} {
		if *into, err = strconv.ParseUint(string(f[i]), 10, 64); err != nil {
			return record{}, errNoRecord
		}
	}
	if micros > uint64(1<<63-1)/1000 {
		return record{}, fmt.Errorf("time %s: more than 292 years since boot", quote(f[2]))
	}
	r.stamp, r.uptime = string(f[2]), time.Duration(micros)*time.Microsecond
	r.fragment = string(f[3]) == "c"
	r.text, _, _ = bytes.Cut(text, []byte("\n"))
	return r, nil
}

// unescape turns "\x1b" into the byte, as often as it occurs.
func unescape(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, `\x`)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		code, err := strconv.ParseUint(after[:min(2, len(after))], 16, 8)
		if err != nil || len(after) < 2 {
			b.WriteString(`\x`)
			s = after
			continue
		}
		b.WriteByte(byte(code))
		s = after[2:]
	}
}
