package verdict

import "halfopen/beatstats"

// Setting is what the lint said of one of the shipper's settings when the
// recording began.
type Setting struct {
	beatstats.Finding
	File   string `json:"file,omitempty"` // that Line is of
	Record uint64 `json:"record"`
}

// explains reports whether a rule's plain remark belongs to the story: who
// was to end the stall, when, and what the figures mean. Errors and warnings
// always do.
func (j *judge) explains(rule string) bool {
	switch rule {
	case "timeout-recovers":
		return j.v.Verdict == Stalled || j.v.Verdict == Reproduced || j.v.Recovery != nil && j.v.Recovery.By == ByTimeout
	case "queue-bound", "queue-fills", "queue-disk", "one-host-at-a-time", "shared-queue":
		return j.v.Verdict == Stalled || j.v.Verdict == Reproduced
	case "kernel-gives-up":
		return j.v.Class == HalfOpen || j.v.Class == LocalDrop || j.v.Recovery != nil && j.v.Recovery.By == ByKernel
	case "idle-keepalive":
		return j.v.Class == IdleHalfOpen || j.v.Recovery != nil && j.v.Recovery.By == ByKeepalive
	}
	return false
}

// notes keeps of the lint's findings those that matter for the verdict.
func (j *judge) notes() {
	for _, s := range j.settings {
		for _, f := range s.body.Findings {
			if f.Level != beatstats.LevelInfo || j.explains(f.Rule) {
				j.v.Settings = append(j.v.Settings, Setting{Finding: f, File: s.body.File, Record: s.n})
			}
		}
	}
}

// lag tells how far behind the shipper was at its last reading.
func (j *judge) lag() {
	if len(j.acks) == 0 {
		return
	}
	var m Meter
	for _, a := range j.acks {
		m.Add(a.at, a.n, a.body.Sample)
	}
	last := j.acks[len(j.acks)-1].at
	if l, ok := m.Lag(last); ok {
		l.At = j.wall(last)
		j.v.Lag = &l
	}
}
