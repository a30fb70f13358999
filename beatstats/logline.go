package beatstats

import (
	"bytes"
	"time"

	"github.com/tidwall/gjson"
)

// What a Beat logs (elastic/beats libbeat/monitoring/report/log/log.go): every
// period the counters that grew, by how much they did, with the gauges as they
// are; and at the end everything, as it stands.
var (
	periodic = []byte("Non-zero metrics in the last ")
	totals   = [][]byte{[]byte("Total metrics"), []byte("Total non-zero metrics")} // the second until 7.16
)

// logLine is one such line.
type logLine struct {
	Sample // counters are what was added, but where total
	period time.Duration
	total  bool
}

// TellsCounters reports whether a line of a log may be one of counters, whatever
// a container engine has put around it.
func TellsCounters(line []byte) bool {
	return bytes.Contains(line, periodic) || bytes.Contains(line, totals[0]) || bytes.Contains(line, totals[1])
}

// parseLogLine reads a line of Filebeat 6.2 to 9: text with fields in JSON
// behind the message, or all of it JSON. ok is false for any other line.
func parseLogLine(line []byte) (l logLine, ok bool, err error) {
	const op = "parse counters of a log line"
	if at := bytes.Index(line, periodic); at >= 0 {
		if l.period, ok = leadingDuration(line[at+len(periodic):]); !ok {
			return logLine{}, false, nil
		}
	} else if l.total = TellsCounters(line); !l.total {
		return logLine{}, false, nil
	}
	fields := bytes.IndexByte(line, '{')
	if fields < 0 {
		return logLine{}, false, &Error{Reason: NotJSON, Op: op, Detail: "no fields in JSON, as before Filebeat 6.2: " + quote(line, 60)}
	}
	doc, err := decode(op, line[fields:])
	if err != nil {
		return logLine{}, false, err
	}
	metrics, _ := member(doc, "monitoring", "metrics")
	if lib, _ := member(metrics, "libbeat"); !lib.IsObject() {
		return logLine{}, false, &Error{Reason: WrongService, Op: op, Detail: "no monitoring.metrics.libbeat in it, but " + keys(doc)}
	}
	if l.Sample = loggedBeat(line, metrics); l.Uptime == nil {
		return logLine{}, false, &Error{Reason: WrongService, Op: op, Detail: "no beat.info.uptime.ms in it: which life it counts is not known"}
	}
	return l, true, nil
}

// leadingDuration reads "30s" or "1h0m0s" up to what can't be of it.
func leadingDuration(text []byte) (d time.Duration, ok bool) {
	end := bytes.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' && (r < 'a' || r > 'z') && r != 'µ' })
	if end < 0 {
		end = len(text)
	}
	d, err := time.ParseDuration(string(text[:end]))
	return d, err == nil && d > 0 && d < 1<<62
}

// loggedBeat is the sample of one line. Counters that did not grow are left out
// of it. The depth is pipeline.events.active, which every release logs as a
// gauge; queue.filled.events some log as a difference. Before 7.11 so were
// output.events.active and memstats.rss (beats#22877): a line that tells no
// version, before 7.14, gives neither.
func loggedBeat(line []byte, metrics gjson.Result) Sample {
	b := readBeat(line, metrics)
	for i := range beatKeys {
		if k := &beatKeys[i]; k.always && *k.value(b) == nil {
			*k.value(b) = b.keep(Value{Key: k.path})
		}
	}
	if b.Version == "" {
		b.Active, b.MemoryBytes = nil, nil
	}
	b.capacity(b.queue())
	b.depth(b.active)
	return b.Sample
}
