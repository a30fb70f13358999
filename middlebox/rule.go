package middlebox

import (
	"net/netip"
	"slices"
	"time"

	"halfopen/flow"
)

// Rule is a packet filter rule of this host, as far as it is understood: what it
// does with packets that it matches, and which TCP ports it asks for.
type Rule struct {
	Family string `json:"family"` // ip, ip6, inet, arp, bridge, netdev; "ip legacy", "ip6 legacy" of iptables-legacy
	Table  string `json:"table"`
	Chain  string `json:"chain"`
	// Handle names the rule for its lifetime in its table. 0 of the legacy
	// tables, whose rules have none, and of a chain's policy.
	Handle uint64 `json:"handle,omitempty"`
	// Drops tells that matched packets are dropped or rejected by this rule
	// itself, not by a chain that it jumps to.
	Drops bool `json:"drops"`
	// Protocol is what it asks for: tcp, udp, or a number; empty where it does not.
	Protocol string `json:"protocol,omitempty"`
	// Ports are those that it compares with. A rule without any may match every port.
	Ports flow.Ports `json:"ports,omitempty"`
	// More tells that it may match other ports than those: a set, a range or a
	// negation stands there too.
	More bool `json:"more,omitempty"`
	// Addrs are the addresses that it asks for, as source or as destination. What
	// it excludes, or looks up in a set, is not among them.
	Addrs []netip.Prefix `json:"addrs,omitempty"`
	// Side is where it asks for its ports: dport or sport. Empty: both, or not known.
	Side string `json:"side,omitempty"`
	// Hooks are those by which a packet gets to its chain: prerouting, input, forward,
	// output, postrouting, ingress. Empty: not known.
	Hooks []string `json:"hooks,omitempty"`
	// Loose tells that no hook leads to its chain, or that its table is dormant: no packet
	// meets it.
	Loose bool `json:"loose,omitempty"`
	// Absent is an interface that it asks for and that there was not when it came.
	Absent string `json:"absent,omitempty"`
	Jump   string `json:"jump,omitempty"` // the chain that it leads to; @ and a name: a verdict map
	Text   string `json:"text"`           // in nft's words, as far as understood
	// Set and Element are of a rule as far as it is about one element of a set or a map
	// that it looks up, which came or went, or came with it. Its other fields hold for
	// the packets that the element matches.
	Set     string `json:"set,omitempty"`
	Element string `json:"element,omitempty"` // in nft's words; 0x where its parts are not understood
	// Each tells that the rule matches by elements alone, and that each is told.
	Each bool `json:"each,omitempty"`
	// Vague tells of one about an element that which packets it matches is not known.
	Vague bool `json:"vague,omitempty"`

	// Traffic that it had counted when it was last read, nil where it does not count.
	Packets *uint64 `json:"packets,omitempty"`
	Bytes   *uint64 `json:"bytes,omitempty"`

	links   []string // interfaces that it asks for
	lookups []lookup
	wide    bool // More, but for its lookups
}

// Concerns reports whether the rule may drop packets of a watched port.
func (r Rule) Concerns(ports flow.Ports) bool {
	if !r.Drops || r.Protocol != "" && r.Protocol != "tcp" {
		return false
	}
	return len(r.Ports) == 0 || r.More || slices.ContainsFunc(r.Ports, ports.Has)
}

// Meets reports whether a packet between two of these addresses may match: it is of
// the rule's family, and the rule asks for no other.
func (r Rule) Meets(addrs []netip.Addr) bool {
	if len(addrs) > 0 && !slices.ContainsFunc(addrs, r.carries) {
		return false
	}
	return !slices.ContainsFunc(r.Addrs, func(p netip.Prefix) bool { return !slices.ContainsFunc(addrs, p.Contains) })
}

// carries reports whether packets of an address are of the rule's family.
func (r Rule) carries(a netip.Addr) bool {
	switch r.Family {
	case "ip", "ip legacy":
		return a.Unmap().Is4()
	case "ip6", "ip6 legacy":
		return !a.Unmap().Is4()
	}
	return r.Family != "arp"
}

// RuleChange is a change of the ruleset, whoever made it.
type RuleChange struct {
	// Kind is NEW, COUNTED, DESTROY, or UPDATE of a chain's policy, or of a rule that
	// a hook leads to from now on, or none any more; WATCHING and
	// OVERRUN as of an Event, without a rule.
	Kind EventKind `json:"kind"`
	Time time.Time `json:"time"` // when it was read
	// Within is how much earlier it may have happened: 0 where the kernel tells
	// of changes, the time since the last look where looks are compared.
	Within time.Duration `json:"within_ns,omitempty"`
	By     string        `json:"by,omitempty"` // name of the process that made it, where the kernel tells
	PID    uint32        `json:"pid,omitempty"`
	Rule   *Rule         `json:"rule,omitempty"`
}
