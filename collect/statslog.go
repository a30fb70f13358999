package collect

import (
	"fmt"
	"sync"
	"time"

	"halfopen/beatstats"
	"halfopen/clock"
	"halfopen/timeline"
)

// LoggedStats takes a Beat's counters from the lines of its log, one every 30 s,
// for as long as its endpoint gives none. It adds up from the first line that it
// hears, so that they are there when they are needed.
type LoggedStats struct {
	At   string // place
	Name string // filebeat
	// Onset, where not nil, is told of the counters.
	Onset *Onset

	mu     sync.Mutex
	deltas beatstats.Deltas
	lives  beatstats.Lives
	last   time.Duration // monotonic: the last answer of the endpoint, 0: none yet
	used   bool          // since then
}

// Hear has the lines of a log told to l, which may be nil. It is to be called
// before the log is followed.
func (l *LoggedStats) Hear(rec *Recorder, log *Logs) {
	if l != nil {
		log.Seen = func(line []byte, at time.Time) { l.line(rec, log.Path, line, at) }
	}
}

// answered notes that the endpoint gave counters.
func (l *LoggedStats) answered() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last, l.used = clock.Mono(), false
}

func (l *LoggedStats) line(rec *Recorder, path string, line []byte, at time.Time) {
	if !beatstats.TellsCounters(line) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok, err := l.deltas.Add(line)
	switch {
	case err != nil:
		rec.Fail("counters in the log of "+l.Name, 0, err)
		return
	case !ok:
		return
	}
	_, why := l.lives.Next(s)
	// A line of some time ago is the past of a log that is not read from now on: it
	// adds to the counters and is no reading of this moment.
	if time.Since(at) > loggedAtLeast || l.last != 0 && clock.Mono()-l.last < max(s.Logged.Period, loggedAtLeast) {
		return
	}
	if !l.used {
		l.used = true
		rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: fmt.Sprintf("stats of %s: no endpoint tells them, so they are taken from its log %s, one reading every %s", l.Name, path, s.Logged.Period)}})
	}
	if why != "" {
		rec.Append(0, timeline.Body{Party: &timeline.Party{Name: l.Name, At: l.At, Change: timeline.Restarted, How: why}})
	}
	rec.Append(0, timeline.Body{Stats: &timeline.Stats{At: l.At, Name: l.Name, Endpoint: "log:" + path, Sample: s}})
	l.Onset.counters(l.At, s)
}

// loggedAtLeast is how long an endpoint is given to answer again, and a line to
// be read, however often the program logs its counters.
const loggedAtLeast = 5 * time.Second
