package fault

import (
	"errors"
	"fmt"

	"halfopen/netns"
)

// What conntrack keeps of an entry that is made while they are on
// (Documentation/networking/nf_conntrack-sysctl.rst): its traffic, when it began
// and ended, and whether its changes are told though nobody listens.
const (
	acctKey   = "net.netfilter.nf_conntrack_acct"
	stampKey  = "net.netfilter.nf_conntrack_timestamp"
	eventsKey = "net.netfilter.nf_conntrack_events"
)

// Account switches on, until undone, what makes the conntrack of a namespace count
// traffic and keep times. Changed tells each change as a command; what was on
// already is left. It holds for connections that begin meanwhile. The error is
// os.ErrNotExist where the kernel does not track connections.
func Account(ns *netns.NS, l *Ledger) (changed []string, undo func() error, err error) {
	var all []*setting
	undo = func() (err error) {
		for _, s := range all {
			err = errors.Join(err, s.restore())
		}
		return err
	}
	for _, key := range []string{acctKey, stampKey, eventsKey} {
		now, err := ns.Sysctl(key)
		if err == nil && now == "1" {
			continue
		}
		var s *setting
		if err == nil {
			s, err = set(ns, l, key, "1")
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("switch on conntrack's accounting: %w", err), undo())
		}
		all = append(all, s)
		changed = append(changed, s.command())
	}
	return changed, undo, nil
}
