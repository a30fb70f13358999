package fault

import (
	"fmt"

	"halfopen/netns"
)

// idleKey is the sysctl of how long conntrack remembers a connection over which
// nothing flows, in seconds (Documentation/networking/nf_conntrack-sysctl.rst).
// An entry takes it with its next packet.
const idleKey = "net.netfilter.nf_conntrack_tcp_timeout_established"

// setting is a sysctl of a namespace while it is not what it was.
type setting struct {
	ns  *netns.NS
	key string
	was string
	set string
	ok  func() // the ledger may forget it
}

// expire makes conntrack forget idle connections soon: all of the namespace, for
// the kernel has no timeout of single ones.
func (p plan) expire() (*setting, error) {
	return set(p.NS, p.Ledger, idleKey, fmt.Sprint(int(p.Idle.Seconds())))
}

// set changes a sysctl, with a note of it first. Without a ledger there is none.
func set(ns *netns.NS, l *Ledger, key, value string) (*setting, error) {
	was, err := ns.Sysctl(key)
	if err != nil {
		return nil, err
	}
	s := &setting{ns: ns, key: key, was: was, set: value, ok: func() {}}
	if l != nil {
		if s.ok, err = l.note(ns, note{Sysctl: s.key, Was: s.was, Set: s.set}); err != nil {
			return nil, err
		}
	}
	if err := s.ns.SetSysctl(s.key, s.set); err != nil {
		s.ok()
		return nil, err
	}
	return s, nil
}

// command is the change in the syntax of sysctl(8), with what it was.
func (s *setting) command() string {
	return fmt.Sprintf("sysctl -w %s=%s (it was %s)", s.key, s.set, s.was)
}

// restore puts the sysctl back, unless somebody has changed it meanwhile.
func (s *setting) restore() error {
	if s == nil {
		return nil
	}
	now, err := s.ns.Sysctl(s.key)
	if err != nil {
		return err
	}
	if now != s.set {
		s.ok()
		return fmt.Errorf("sysctl %s is %s by now, and not the %s that was set here: it is left so; it was %s at first", s.key, now, s.set, s.was)
	}
	if err := s.ns.SetSysctl(s.key, s.was); err != nil {
		return err
	}
	s.ok()
	return nil
}
