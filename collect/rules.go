package collect

import (
	"context"
	"fmt"
	"time"

	"halfopen/clock"
	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/netns"
	"halfopen/timeline"
)

// Rules records who adds or removes packet filter rules in a namespace: a cut
// made by hand needs no mark then. Of the rules that are there at the start,
// those are recorded that may drop packets of the watched ports.
type Rules struct {
	At    string // place
	NS    *netns.NS
	Ports flow.Ports
	Every time.Duration // between two looks at the tables of iptables-legacy
	// Named tells that this witness was asked for: without it the recording ends.
	Named bool
}

// rulesBurst is how many changes are recorded within one rulesPace: an
// orchestrator may load tens of thousands at once.
const (
	rulesBurst = 100
	rulesPace  = time.Second
)

// Run watches until ctx ends.
func (s *Rules) Run(ctx context.Context, rec *Recorder) error {
	source := "packet filter of " + s.At
	var since time.Duration
	var told, lost int
	flush := func() {
		if lost > 0 {
			rec.Append(0, timeline.Body{Gap: &timeline.Gap{Source: source, Lost: int64(lost), Why: fmt.Sprintf("more than %d changes within %s", rulesBurst, rulesPace)}})
		}
		told, lost = 0, 0
	}
	err := middlebox.WatchRules(ctx, s.NS, s.Every, func(c middlebox.RuleChange) {
		switch {
		case c.Kind == middlebox.Watching:
			return
		case c.Kind == middlebox.Overrun:
			rec.Append(0, timeline.Body{Gap: &timeline.Gap{Source: source, Lost: -1, Why: "more changes than the netlink buffer holds; what differs is told as found by comparing"}})
			return
		case c.Kind == middlebox.Present && !c.Rule.Concerns(s.Ports):
			return
		}
		if now := clock.Mono(); now-since > rulesPace {
			flush()
			since = now
		}
		// What may cut the watched ports is never left out.
		if told++; told > rulesBurst && !c.Rule.Concerns(s.Ports) {
			lost++
			return
		}
		rec.Append(c.Within, timeline.Body{Rule: &timeline.Rule{At: s.At, Change: c}})
	})
	flush()
	switch {
	case err == nil || ctx.Err() != nil:
		return nil
	case s.Named:
		return fmt.Errorf("watch the packet filter of %s: %w", s.At, err)
	}
	rec.Fail(source, 0, err)
	return nil
}
