// Package middlebox tells what the path between two ends did with their
// connections. So far that is connection tracking: what a NAT router or a
// stateful firewall on this host remembers of a TCP connection.
package middlebox

import (
	"time"

	"halfopen/flow"
)

// Entry is a TCP connection as conntrack remembers it.
//
// A kernel tracks connections in a namespace only while something there uses
// the tracking: a NAT chain, or a rule with a ct expression. Without such a
// user there are no entries, which does not mean that there is no traffic.
type Entry struct {
	// Orig is the connection as its initiator sent it: Local is the source of
	// the first packet, Remote its destination.
	Orig flow.Flow `json:"orig"`

	// Reply is what the kernel expects of the answers: Local is their source,
	// Remote where they are sent to. It differs from Orig.Reverse where an
	// address is translated.
	Reply flow.Flow `json:"reply"`

	// State is spelt as in include/uapi/linux/netfilter/nf_conntrack_tcp.h,
	// without its prefix: SYN_SENT, ESTABLISHED, FIN_WAIT. Empty where the
	// kernel left it out, as in some events.
	State string `json:"state,omitempty"`

	// Timeout is the time until the entry expires if no packet comes, in whole
	// seconds. 0 is less than a second, or a DESTROY event, which has none.
	Timeout time.Duration `json:"timeout_ns"`

	Status Status `json:"status"`
	ID     uint32 `json:"id"`            // of this entry; the kernel may use it again later
	Zone   uint16 `json:"zone,omitzero"` // conntrack zone, 0 is the default

	// Traffic since the entry was made, bytes with IP headers. Nil unless
	// net.netfilter.nf_conntrack_acct was 1 when the entry was made.
	OrigPackets  *uint64 `json:"orig_packets,omitempty"`
	OrigBytes    *uint64 `json:"orig_bytes,omitempty"`
	ReplyPackets *uint64 `json:"reply_packets,omitempty"`
	ReplyBytes   *uint64 `json:"reply_bytes,omitempty"`

	// Start and, in a DESTROY event, Stop are wall-clock times. Nil unless
	// net.netfilter.nf_conntrack_timestamp was 1 when the entry was made.
	Start *time.Time `json:"start,omitempty"`
	Stop  *time.Time `json:"stop,omitempty"`
}

// Receiver is the connection as the receiver of its first packet sees it.
func (e Entry) Receiver() flow.Flow { return e.Reply }

// Match reports whether any of the entry's four ports is in the set.
func (e Entry) Match(ports flow.Ports) bool {
	return ports.Match(e.Orig) || ports.Match(e.Reply)
}

// states are the values of enum tcp_conntrack, from 0 on
// (include/uapi/linux/netfilter/nf_conntrack_tcp.h).
var states = [...]string{
	"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT",
	"CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
}
