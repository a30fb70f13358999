package collect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"halfopen/fault"
	"halfopen/netns"
	"halfopen/timeline"
)

// Accounting has conntrack count traffic and keep times for as long as it runs, and
// records what it switched on and off for that.
type Accounting struct {
	At     string // place
	NS     *netns.NS
	Ledger *fault.Ledger
}

// Run switches on and, when ctx ends, off. It was asked for: where that can't be,
// the recording ends; but a place without connection tracking has nothing to count.
func (a *Accounting) Run(ctx context.Context, rec *Recorder) error {
	changed, undo, err := fault.Account(a.NS, a.Ledger)
	switch {
	case errors.Is(err, os.ErrNotExist):
		rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: "the kernel does not track connections in " + a.At + ": there is nothing to count"}})
		return nil
	case err != nil:
		return fmt.Errorf("--conntrack-accounting in %s: %w", a.At, err)
	case len(changed) == 0:
		return nil
	}
	rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: fmt.Sprintf("switched on in %s, for connections that begin now: %s", a.At, strings.Join(changed, ", "))}})
	<-ctx.Done()
	if err := undo(); err != nil {
		rec.Fail("undoing conntrack's accounting in "+a.At, 0, err)
		return nil
	}
	rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: "conntrack's accounting in " + a.At + " is as it was"}})
	return nil
}
