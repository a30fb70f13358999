package sockstate

import (
	"time"

	"halfopen/flow"
)

// Socket is one row of the kernel's TCP table, as one reading saw it.
type Socket struct {
	flow.Flow
	State State `json:"state"`
	Timer Timer `json:"timer"`
	// TimerIn is the time until the timer fires, not below zero. Resolution:
	// 1 ms by inet_diag, 10 ms (USER_HZ) in /proc.
	TimerIn time.Duration `json:"timer_in_ns"`
	// Retransmits counts what has gone unanswered. With TimerRetransmit it is
	// the retransmissions since the last progress (icsk_retransmits, column
	// retrnsmt); with TimerKeepalive and TimerProbe the probes since the last
	// answer (icsk_probes_out, column timeout). For SYN_RECV, the SYN-ACKs sent
	// again (inet_diag) or the times the timer fired (/proc).
	Retransmits uint32 `json:"retransmits"`
	// SendQ is what the peer has not acknowledged, a SYN or FIN counted as one
	// byte. For LISTEN it is the limit of the accept queue, in connections
	// (inet_diag only; /proc says 0).
	SendQ uint32 `json:"send_q_bytes"`
	// RecvQ is what the application has not read, a FIN counted as one byte. For LISTEN it is the length of
	// the accept queue, in connections.
	RecvQ uint32 `json:"recv_q_bytes"`
	UID   uint32 `json:"uid"` // owner; for SYN_RECV the listener's in /proc, 0 by inet_diag
	// Inode names the socket in /proc/PID/fd. It is 0 when no process holds the
	// socket: an orphan (see Orphan), a minisocket (TIME_WAIT, SYN_RECV), or, in
	// ESTABLISHED and CLOSE_WAIT, a connection that waits to be accepted.
	Inode uint32 `json:"inode"`
	// Interface is the index of the interface that the socket is bound to, 0 for
	// none (inet_diag only).
	Interface uint32 `json:"interface,omitempty"`
	// Cookie names the socket for as long as the host is up: a 4-tuple that is
	// used again has a new one. 0 when the reading is from /proc. TIME_WAIT and
	// FIN_WAIT2 minisockets have cookies of their own, not those of the sockets
	// they took over from.
	Cookie uint64 `json:"cookie,omitempty"`
	// Proc is what only /proc tells; nil by inet_diag, and for minisockets.
	Proc *ProcCols `json:"proc,omitempty"`
	// Info is tcp_info; nil from /proc, for minisockets and for LISTEN.
	Info *Info `json:"info,omitempty"`
}

// ProcCols are the columns of /proc/net/tcp{,6} that inet_diag does not have, or
// has in another form (net/ipv4/tcp_ipv4.c, get_tcp4_sock).
type ProcCols struct {
	Ref         uint32        `json:"ref"`         // references to the socket
	Retransmits uint32        `json:"retransmits"` // column retrnsmt, whatever the timer
	Probes      uint32        `json:"probes"`      // column timeout: unanswered probes
	RTO         time.Duration `json:"rto_ns"`      // retransmission timeout, backed off; resolution 10 ms
	ATO         time.Duration `json:"ato_ns"`      // delayed ACK timeout; resolution 10 ms
	QuickAcks   uint32        `json:"quick_acks"`  // ACKs still sent without delay
	PingPong    bool          `json:"ping_pong"`   // traffic goes to and fro: ACKs ride on data
	Cwnd        uint32        `json:"cwnd"`        // congestion window, segments
	// Ssthresh is the slow start threshold in segments; absent before the first
	// loss (-1 in the table) and for LISTEN.
	Ssthresh Opt[uint32] `json:"ssthresh,omitzero"`
}

// Orphan reports whether the connection has outlived the descriptor that it
// belonged to: the kernel alone is closing it.
func (s Socket) Orphan() bool {
	switch s.State {
	case FinWait1, FinWait2, Closing, LastAck:
		return s.Inode == 0
	}
	return false
}

// Steady reports whether nothing differs from an earlier reading but the values
// that move by themselves: the timer's rest, the ages of the last segments, and
// the busy times. Cookies count, so a 4-tuple used again is never steady.
func (s Socket) Steady(prev Socket) bool {
	if !s.Info.steady(prev.Info) || !equal(s.Proc, prev.Proc) {
		return false
	}
	s.TimerIn, s.Proc, s.Info = 0, nil, nil
	prev.TimerIn, prev.Proc, prev.Info = 0, nil, nil
	return s == prev
}

func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
