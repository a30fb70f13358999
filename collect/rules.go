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
	w := s.record(rec)
	err := middlebox.WatchRules(ctx, s.NS, s.Ports, s.Every, w.take)
	w.burst.flush(rec)
	switch {
	case err == nil || ctx.Err() != nil:
	case errors.Is(err, os.ErrPermission):
		m := lacking(nameOf(s)+" is not watched", "CAP_NET_ADMIN and CAP_NET_RAW", "rules that somebody adds or removes would be recorded, and with them when packets were dropped")
		m.Unwatched = true
		rec.Append(0, timeline.Body{Mark: m})
	default:
		rec.Fail(nameOf(s), 0, err)
	}
	return nil
}

// Once reads the rules that there are, where the rights allow it.
func (s *Rules) Once(_ context.Context, rec *Recorder) {
	err := middlebox.ReadRules(s.NS, s.Ports, s.record(rec).take)
	if err != nil && !errors.Is(err, os.ErrPermission) {
		rec.Fail(nameOf(s), 0, err)
	}
}

// ruleRecord records what is told of rules.
type ruleRecord struct {
	*Rules
	rec    *Recorder
	burst  burst
	before int                            // rules of before without ports
	told   map[ruleKey]map[[2]string]bool // set and element of those that came, by their rules
	stand  int                            // how many those are
}

// ruleKey names a rule of nf_tables in its namespace.
type ruleKey struct {
	family, table string
	handle        uint64
}

func keyOf(r *middlebox.Rule) ruleKey { return ruleKey{r.Family, r.Table, r.Handle} }

func (s *Rules) record(rec *Recorder) *ruleRecord {
	return &ruleRecord{Rules: s, rec: rec, burst: burst{source: nameOf(s)}, told: map[ruleKey]map[[2]string]bool{}}
}

func (w *ruleRecord) take(c middlebox.RuleChange) {
	if c.Kind == middlebox.Destroy && c.Rule.Element == "" { // its elements with it
		w.stand -= len(w.told[keyOf(c.Rule)])
		delete(w.told, keyOf(c.Rule))
	}
	switch {
	case c.Kind == middlebox.Watching:
		return
	case c.Kind == middlebox.Overrun:
		w.rec.Append(0, timeline.Body{Gap: &timeline.Gap{Source: nameOf(w.Rules), Lost: -1, Why: "more changes than the netlink buffer holds; what differs is told as found by comparing, of sets with up to 64 elements"}})
		return
	case c.Kind == middlebox.Present && !c.Rule.Concerns(w.Ports):
		return
	case c.Kind == middlebox.Present && len(c.Rule.Ports) == 0: // every firewall has such
		if w.before++; w.before > burstMost {
			return
		}
	case c.Rule.Element != "":
		if !w.element(c) {
			return
		}
	// What may cut the watched ports, or ends that as a chain's new policy does, is never left out.
	case !w.burst.admits(w.rec, c.Kind == middlebox.Update || c.Rule.Concerns(w.Ports)):
		return
	}
	at, also := w.Where.or(w.At)
	w.rec.Append(c.Within, timeline.Body{Rule: &timeline.Rule{At: at, Also: also, Change: c}})
}

// maxElements is how many elements that came and stand are remembered.
const maxElements = 10_000

// element reports whether that of a set may be recorded: there may be a hundred
// thousand of them. The end of one that was is never left out.
func (w *ruleRecord) element(c middlebox.RuleChange) bool {
	rule, e := keyOf(c.Rule), [2]string{c.Rule.Set, c.Rule.Element}
	stood := w.told[rule][e]
	if c.Kind == middlebox.Destroy && stood {
		delete(w.told[rule], e)
		w.stand--
		return w.burst.admits(w.rec, true)
	}
	ok := w.burst.admits(w.rec, false)
	if ok && c.Kind == middlebox.New && !stood {
		if w.stand >= maxElements {
			w.burst.lost++
			return false
		}
		if w.told[rule] == nil {
			w.told[rule] = map[[2]string]bool{}
		}
		w.told[rule][e] = true
		w.stand++
	}
	return ok
}

// lacking notes what is not read for want of rights, and what they would add. That
// is no failure: nobody asked for it.
func lacking(what, rights, adds string) *timeline.Mark {
	return &timeline.Mark{Text: fmt.Sprintf("%s, for that takes %s: with them %s", what, rights, adds)}
}
