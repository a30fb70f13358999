package collect

import (
	"fmt"
	"time"

	"halfopen/clock"
	"halfopen/timeline"
)

// burst bounds the records of a source that somebody else sets the pace of: an
// orchestrator may load tens of thousands of rules at once.
type burst struct {
	source     string
	since      time.Duration
	told, lost int
}

const (
	burstMost = 100 // records
	burstPace = time.Second
)

// admits reports whether one more may be recorded; what always is counts too.
func (b *burst) admits(rec *Recorder, always bool) bool {
	if now := clock.Mono(); now-b.since > burstPace {
		b.flush(rec)
		b.since = now
	}
	if b.told++; b.told > burstMost && !always {
		b.lost++
		return false
	}
	return true
}

// flush tells how many were left out.
func (b *burst) flush(rec *Recorder) {
	if b.lost > 0 {
		rec.Append(0, timeline.Body{Gap: &timeline.Gap{Source: b.source, Lost: int64(b.lost), Why: fmt.Sprintf("more than %d changes within %s", burstMost, burstPace)}})
	}
	b.told, b.lost = 0, 0
}
