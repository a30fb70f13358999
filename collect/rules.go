package collect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

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
	Where Where  // of the records; nil is At alone
	NS    *netns.NS
	Ports flow.Ports
	Every time.Duration // between two looks at the tables of iptables-legacy, and at counters
}

// Run watches until ctx ends.
func (s *Rules) Run(ctx context.Context, rec *Recorder) error {
	source := "packet filter of " + s.At
	b, before := burst{source: source}, 0
	err := middlebox.WatchRules(ctx, s.NS, s.Ports, s.Every, func(c middlebox.RuleChange) {
		switch {
		case c.Kind == middlebox.Watching:
			return
		case c.Kind == middlebox.Overrun:
			rec.Append(0, timeline.Body{Gap: &timeline.Gap{Source: source, Lost: -1, Why: "more changes than the netlink buffer holds; what differs is told as found by comparing"}})
			return
		case c.Kind == middlebox.Present && !c.Rule.Concerns(s.Ports):
			return
		case c.Kind == middlebox.Present && len(c.Rule.Ports) == 0: // every firewall has such
			if before++; before > burstMost {
				return
			}
		case !b.admits(rec, c.Rule.Concerns(s.Ports)): // what may cut the watched ports is never left out
			return
		}
		at, also := s.Where.or(s.At)
		rec.Append(c.Within, timeline.Body{Rule: &timeline.Rule{At: at, Also: also, Change: c}})
	})
	b.flush(rec)
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, os.ErrPermission):
		m := lacking(source+" is not watched", "CAP_NET_ADMIN and CAP_NET_RAW", "rules that somebody adds or removes would be recorded, and with them when packets were dropped")
		m.Unwatched = true
		rec.Append(0, timeline.Body{Mark: m})
	default:
		rec.Fail(source, 0, err)
	}
	return nil
}

// lacking notes what is not read for want of rights, and what they would add. That
// is no failure: nobody asked for it.
func lacking(what, rights, adds string) *timeline.Mark {
	return &timeline.Mark{Text: fmt.Sprintf("%s, for that takes %s: with them %s", what, rights, adds)}
}
