package fault

import (
	"errors"
	"fmt"
	"slices"

	"halfopen/flow"
	"halfopen/middlebox"
)

// entries are the conntrack entries of the connections that the fault is about.
func (p plan) entries() ([]middlebox.Entry, error) {
	all, err := p.Conntrack.List()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(e middlebox.Entry) bool { return !p.about(e) }), nil
}

func (p plan) about(e middlebox.Entry) bool {
	if p.Flow != nil {
		return AtHook(e) == *p.Flow || AtHook(e).Reverse() == *p.Flow
	}
	return e.Match(p.Ports)
}

// AtHook is a connection as the forward hook sees it: with its destination
// translated already, and its source not yet.
func AtHook(e middlebox.Entry) flow.Flow {
	return flow.Flow{Local: e.Orig.Local, Remote: e.Reply.Local}
}

// forget deletes the entries while nothing of theirs passes yet: the rules of the
// first step are in force. One that goes by itself meanwhile is not among those
// returned.
//
// The ct expressions of the next rules, and those of stray packets, switch
// connection tracking on in a namespace where nothing used it so far; it is off
// again after Undo.
func (p plan) forget() (deleted []middlebox.Entry, err error) {
	entries, err := p.entries()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		switch err := p.Conntrack.Delete(e); {
		case errors.Is(err, middlebox.ErrGone):
		case err != nil:
			return nil, fmt.Errorf("%d of %d entries are deleted: %w", len(deleted), len(entries), err)
		default:
			deleted = append(deleted, e)
		}
	}
	return deleted, nil
}

// expired puts the timeout back and returns the entries of before that are no
// more.
func (f *Fault) expired() ([]middlebox.Entry, error) {
	err := f.idle.restore()
	f.idle = nil
	if err != nil {
		return nil, err
	}
	now, err := f.plan.entries()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(f.before), func(e middlebox.Entry) bool {
		return slices.ContainsFunc(now, func(n middlebox.Entry) bool { return n.ID == e.ID && n.Orig == e.Orig })
	}), nil
}
