package collect

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"halfopen/logtail"
)

// What a container engine wraps is looked into, and handed on unwrapped.
func TestLogsOfEngine(t *testing.T) {
	log := filepath.Join(t.TempDir(), "x-json.log")
	var mu sync.Mutex
	var seen []string
	l := follow(t, &Logs{Name: "filebeat", Path: log, From: logtail.FromBeginning, Seen: func(line []byte, at time.Time) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, at.Format(time.RFC3339)+" "+string(line))
	}}, nil)
	const inner = `2026-11-21T12:00:00.123Z\tINFO\t[monitoring]\tlog/log.go:184\tNon-zero metrics in the last 30s\t{\"monitoring\": {}}\n`
	appendTo(t, log, `{"log":"`+inner+`","stream":"stderr","time":"2026-11-21T12:00:00.5Z"}`+"\n")
	const wrapped = `{"log":"Connection to backoff(async(tcp://a:5044)) established\n","stream":"stdout","time":"2026-11-21T12:00:01.5Z"}`
	appendTo(t, log, wrapped+"\n")
	appendTo(t, log, "plain\n")
	l.await("an event", func() bool { return len(l.events()) == 1 })
	l.end()
	e := l.events()[0]
	if e.Pattern != "filebeat-connected" || e.Line != wrapped || e.Message != "Connection to backoff(async(tcp://a:5044)) established" ||
		e.Stream != "stdout" || e.LoggedBy != "engine" || e.LoggedAs != "2026-11-21T12:00:01.5Z" {
		t.Errorf("event %+v", e)
	}
	want := []string{
		"2026-11-21T12:00:00Z 2026-11-21T12:00:00.123Z\tINFO\t[monitoring]\tlog/log.go:184\tNon-zero metrics in the last 30s\t{\"monitoring\": {}}",
		"2026-11-21T12:00:01Z Connection to backoff(async(tcp://a:5044)) established",
	}
	if len(seen) != 3 || !slices.Equal(seen[:2], want) || !strings.HasSuffix(seen[2], " plain") {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

// A format that is named is not looked for.
func TestLogsOfNamedFormat(t *testing.T) {
	log := filepath.Join(t.TempDir(), "x.log")
	const line = `{"log":"Connection to backoff(async(tcp://a:5044)) established\n","stream":"stdout","time":"2026-11-21T12:00:01.5Z"}`
	appendTo(t, log, line+"\n")
	for format, message := range map[logtail.Format]string{"": "Connection to backoff(async(tcp://a:5044)) established", logtail.Plain: ""} {
		l := follow(t, &Logs{Name: "filebeat", Path: log, Format: format, From: logtail.FromBeginning}, nil)
		l.await("an event", func() bool { return len(l.events()) == 1 })
		l.end()
		if e := l.events()[0]; e.Message != message || (e.Logged == nil) != (message == "") {
			t.Errorf("as %q: event %+v", format, e)
		}
	}
}

// A message whose last part never comes is told of at the end, by the last that did.
func TestLogsUnfinishedMessage(t *testing.T) {
	log := filepath.Join(t.TempDir(), "0.log")
	l := follow(t, &Logs{Name: "filebeat", Path: log, From: logtail.FromBeginning}, nil)
	const first, last = "2026-11-21T12:00:01Z stdout P Connection to backoff(async(tcp://a:5044))", "2026-11-21T12:00:01Z stdout P  established, and"
	appendTo(t, log, first+"\n"+last+"\n")
	l.await("the lines", func() bool { return l.copied() == first+"\n"+last+"\n" })
	l.end()
	if e := l.events(); len(e) != 1 || e[0].Line != last || e[0].SourceOffset != int64(len(first))+1 ||
		e[0].Message != "Connection to backoff(async(tcp://a:5044)) established, and" || e[0].Pattern != "filebeat-connected" {
		t.Errorf("events %+v", e)
	}
}
