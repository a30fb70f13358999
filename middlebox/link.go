package middlebox

import "net/netip"

// Link is an interface that watched packets leave by, and the queues on it
// (rtnetlink(7), tc(8)). Its counters are of its life and of all that passes.
type Link struct {
	Name  string `json:"name"`
	Index int    `json:"index"`
	Kind  string `json:"kind,omitempty"` // veth, bridge, vlan; device where the driver does not tell
	// State is the operational state (RFC 2863): up, down, lower-layer-down, dormant,
	// unknown; gone of an interface that is no more. Down includes one that is
	// switched off.
	State string `json:"state"`
	MTU   int    `json:"mtu_bytes,omitempty"`
	// Traffic with errors, and what was dropped for want of room or of a peer. Nil
	// where the kernel did not tell.
	RxErrors  *uint64 `json:"rx_errors,omitempty"`
	TxErrors  *uint64 `json:"tx_errors,omitempty"`
	RxDropped *uint64 `json:"rx_dropped,omitempty"`
	TxDropped *uint64 `json:"tx_dropped,omitempty"`

	Queues []Queue      `json:"queues,omitempty"`
	Toward []netip.Addr `json:"toward,omitempty"` // watched ends that are reached by it
}

// Queue is a queueing discipline of an interface.
type Queue struct {
	Kind    string `json:"kind"`   // noqueue, fq_codel, netem
	Handle  string `json:"handle"` // as tc shows it
	Drops   uint32 `json:"drops"`  // packets; wraps at 2^32
	Backlog uint32 `json:"backlog_bytes"`
}

// Up reports whether packets can leave. Interfaces without a notion of it, as
// loopback, are of unknown state.
func (l Link) Up() bool { return l.State == "up" || l.State == "unknown" }

// Lost is what was dropped on the way out, or in, for any reason that the kernel
// counts here.
func (l Link) Lost() (n uint64) {
	for _, c := range []*uint64{l.RxErrors, l.TxErrors, l.RxDropped, l.TxDropped} {
		if c != nil {
			n += *c
		}
	}
	for _, q := range l.Queues {
		n += uint64(q.Drops)
	}
	return n
}
