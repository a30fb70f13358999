package beatstats

import "fmt"

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
	dated := prev.ID != "" && cur.ID != "" || prev.Uptime != nil && cur.Uptime != nil
	before, after := prev.counters(), cur.counters()
	for i, p := range before {
		c := after[i]
		if !p.OK() || !c.OK() || c.N >= p.N {
			continue
		}
		if !dated {
			return fmt.Sprintf("%s fell from %d to %d", c.Key, p.N, c.N), true
		}
		return fmt.Sprintf("corrupt: %s ran backward from %d to %d without a restart", c.Key, p.N, c.N), false
	}
	return "", false
}

// counters are the values that only grow while the service lives. Received and
// QueuePush are not among them: Logstash clears a pipeline's own when it
// reloads the pipeline.
func (s Sample) counters() []*Value {
	c := []*Value{
		s.Acked, s.Total, s.Failed, s.Dropped, s.Duplicates, s.Batches, s.Published,
		s.WriteBytes, s.WriteErrors, s.ReadBytes, s.ReadErrors,
		s.HarvestersStarted, s.HarvestersClosed, s.RegistrarWrites, s.RegistrarFailures,
		s.EventsIn, s.EventsOut,
	}
	if s.Kind != Fluentd { // before v1 a success sets its retries back to zero
		c = append(c, s.Retries)
	}
	return c
}
