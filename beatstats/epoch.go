package beatstats

import (
	"fmt"
	"time"
)

// Epoch tells whether the counters of cur began anew since prev, and why. A
// new ephemeral id or a falling uptime is a restart. Counters that ran
// backward without either are corrupt: why names them, restarted is false. Of
// a service that names no start (Fluentd, Fluent Bit) a counter that ran
// backward is the only sign of a restart, and taken as one. Nothing to say
// gives "".
func Epoch(prev, cur Sample) (why string, restarted bool) {
	if prev.Kind != cur.Kind {
		return fmt.Sprintf("a %s answers where a %s did", cur.Kind, prev.Kind), true
	}
	if prev.ID != "" && cur.ID != "" && prev.ID != cur.ID {
		return fmt.Sprintf("ephemeral id changed from %q to %q", prev.ID, cur.ID), true
	}
	if prev.Uptime != nil && cur.Uptime != nil && *cur.Uptime < *prev.Uptime {
		return fmt.Sprintf("uptime fell from %v to %v", *prev.Uptime, *cur.Uptime), true
	}
	if !SameBase(prev, cur) {
		return "", false
	}
	dated := prev.ID != "" && cur.ID != "" || prev.Uptime != nil && cur.Uptime != nil
	before, after := prev.counters(), cur.counters()
	for i := range before {
		p, c := *before[i], *after[i]
		if !c.backward(p) {
			continue
		}
		if !dated {
			return fmt.Sprintf("%s fell from %d to %d", c.Key, p.N, c.N), true
		}
		return fmt.Sprintf("corrupt: %s ran backward from %d to %d without a restart", c.Key, p.N, c.N), false
	}
	return "", false
}

func (v *Value) backward(before *Value) bool { return v.OK() && before.OK() && v.N < before.N }

// SameBase reports whether the counters of two samples of one life count from
// the same moment: of those added up from a log, from where the reading of it
// began.
func SameBase(a, b Sample) bool { return a.since() == b.since() }

func (s Sample) since() time.Duration {
	if s.Logged == nil {
		return 0
	}
	return s.Logged.Since
}

// Lives follows the samples of one service from life to life. The zero value is
// ready to use.
type Lives struct {
	last  Sample // with the last good value of each counter
	begun bool
}

// Next takes the next sample and returns it with every counter marked corrupt
// that ran backward within a life. why is not empty if a life began, and tells
// what shows it; the first sample is no restart.
func (l *Lives) Next(s Sample) (marked Sample, why string) {
	if !l.begun {
		l.last, l.begun = s, true
		return s, ""
	}
	why, restarted := Epoch(l.last, s)
	if restarted || !SameBase(l.last, s) {
		l.last = s
		if !restarted {
			why = ""
		}
		return s, why
	}
	good := s
	before, now, kept := l.last.counters(), s.counters(), good.counters()
	for i := range now {
		p, c := *before[i], *now[i]
		if c.backward(p) {
			*now[i] = &Value{N: c.N, Key: c.Key, Corrupt: fmt.Sprintf("it ran backward from %d without a restart", p.N)}
		}
		if !(*now[i]).OK() {
			*kept[i] = p
		}
	}
	l.last = good
	return s, ""
}

// counters are the values that only grow while the service lives. Received and
// QueuePush are not among them: Logstash clears a pipeline's own when it
// reloads the pipeline.
func (s *Sample) counters() []**Value {
	c := []**Value{
		&s.Acked, &s.Total, &s.Failed, &s.Dropped, &s.Duplicates, &s.Batches, &s.Published,
		&s.WriteBytes, &s.WriteErrors, &s.ReadBytes, &s.ReadErrors,
		&s.HarvestersStarted, &s.HarvestersClosed, &s.RegistrarWrites, &s.RegistrarFailures,
		&s.EventsIn, &s.EventsOut,
	}
	if s.Kind != Fluentd { // before v1 a success sets its retries back to zero
		c = append(c, &s.Retries)
	}
	return c
}
