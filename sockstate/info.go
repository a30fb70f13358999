package sockstate

import (
	"encoding/json"
	"time"
)

// Opt is a value that not every kernel and not every socket has.
type Opt[T comparable] struct {
	V  T
	OK bool // false: absent, V means nothing
}

// Some is a value that is present.
func Some[T comparable](v T) Opt[T] { return Opt[T]{v, true} }

// Get returns the value and whether it is present.
func (o Opt[T]) Get() (T, bool) { return o.V, o.OK }

// IsZero reports absence, for the JSON option omitzero.
func (o Opt[T]) IsZero() bool { return !o.OK }

// MarshalJSON writes the bare value, or null when it is absent.
func (o Opt[T]) MarshalJSON() ([]byte, error) {
	if !o.OK {
		return []byte("null"), nil
	}
	return json.Marshal(o.V)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (o *Opt[T]) UnmarshalJSON(b []byte) error {
	*o = Opt[T]{}
	if string(b) == "null" {
		return nil
	}
	if err := json.Unmarshal(b, &o.V); err != nil {
		return err
	}
	o.OK = true
	return nil
}

// Info is what tcp_info (include/uapi/linux/tcp.h) tells of a connection. Its
// length differs between kernels: a field beyond the length that the running
// kernel fills is absent, not zero. The kernel that brought a field is named.
type Info struct {
	CAState     CAState       `json:"ca_state"`
	Retransmits uint8         `json:"retransmits"` // retransmission timeouts since the last progress
	Probes      uint8         `json:"probes"`      // unanswered keepalive or window probes
	Backoff     uint8         `json:"backoff"`     // how often the RTO, or the probe interval, was doubled
	RTO         time.Duration `json:"rto_ns"`      // retransmission timeout, backed off
	ATO         time.Duration `json:"ato_ns"`      // delayed ACK timeout
	RTT         time.Duration `json:"rtt_ns"`      // smoothed; 0 before the first sample
	RTTVar      time.Duration `json:"rttvar_ns"`
	SndMSS      uint32        `json:"snd_mss_bytes"`
	PMTU        uint32        `json:"pmtu_bytes"`

	// Segments: in flight; of these selectively acknowledged, taken for lost,
	// and sent again; and all that were ever sent again.
	Unacked      uint32 `json:"unacked"`
	Sacked       uint32 `json:"sacked"`
	Lost         uint32 `json:"lost"`
	Retrans      uint32 `json:"retrans"`
	TotalRetrans uint32 `json:"total_retrans"`

	// Ages at the reading. Data sent counts retransmissions. An ACK is any
	// segment with the ACK bit, data or not. Before the handshake is done they
	// are measured from some arbitrary moment.
	LastDataSent time.Duration `json:"last_data_sent_ns"`
	LastDataRecv time.Duration `json:"last_data_recv_ns"`
	LastAckRecv  time.Duration `json:"last_ack_recv_ns"`

	Cwnd     uint32      `json:"cwnd"`              // congestion window, segments
	Ssthresh Opt[uint32] `json:"ssthresh,omitzero"` // segments; absent before the first loss

	MinRTT        Opt[time.Duration] `json:"min_rtt_ns,omitzero"`     // 4.6; absent before the first sample
	BytesAcked    Opt[uint64]        `json:"acked_bytes,omitzero"`    // 4.1
	BytesReceived Opt[uint64]        `json:"received_bytes,omitzero"` // 4.1
	SegsOut       Opt[uint32]        `json:"segs_out,omitzero"`       // 4.2; wraps
	SegsIn        Opt[uint32]        `json:"segs_in,omitzero"`        // 4.2; wraps
	NotSent       Opt[uint32]        `json:"notsent_bytes,omitzero"`  // 4.6; part of SendQ
	DataSegsIn    Opt[uint32]        `json:"data_segs_in,omitzero"`   // 4.6; wraps
	DataSegsOut   Opt[uint32]        `json:"data_segs_out,omitzero"`  // 4.6; wraps; with retransmissions
	BytesSent     Opt[uint64]        `json:"sent_bytes,omitzero"`     // 4.19; with retransmissions
	BytesRetrans  Opt[uint64]        `json:"retrans_bytes,omitzero"`  // 4.19
	SndWnd        Opt[uint32]        `json:"snd_wnd_bytes,omitzero"`  // 5.4; the peer's window, scaled
	RcvWnd        Opt[uint32]        `json:"rcv_wnd_bytes,omitzero"`  // 6.2; our window, scaled

	// Time with data in flight; of that, held up by the peer's window, and by
	// the send buffer (4.10).
	Busy          Opt[time.Duration] `json:"busy_ns,omitzero"`
	RwndLimited   Opt[time.Duration] `json:"rwnd_limited_ns,omitzero"`
	SndbufLimited Opt[time.Duration] `json:"sndbuf_limited_ns,omitzero"`

	// Congestion names the congestion control algorithm (INET_DIAG_CONG); empty
	// in a notice of a socket's end.
	Congestion string `json:"congestion,omitempty"`
	// Mem is the socket's memory (INET_DIAG_SKMEMINFO); absent in a notice of a
	// socket's end.
	Mem Opt[Mem] `json:"mem,omitzero"`
}

// Mem is a socket's memory with the kernel's own overhead, and the limits set
// for it (include/uapi/linux/sock_diag.h).
type Mem struct {
	Recv    uint32 `json:"recv_bytes"`     // SK_MEMINFO_RMEM_ALLOC
	RecvBuf uint32 `json:"recv_buf_bytes"` // SK_MEMINFO_RCVBUF
	Send    uint32 `json:"send_bytes"`     // SK_MEMINFO_WMEM_QUEUED
	SendBuf uint32 `json:"send_buf_bytes"` // SK_MEMINFO_SNDBUF
	Drops   uint32 `json:"drops"`          // SK_MEMINFO_DROPS: segments
}

// steady is Socket.Steady for what tcp_info tells.
func (i *Info) steady(prev *Info) bool {
	if i == nil || prev == nil {
		return i == prev
	}
	a, b := *i, *prev
	for _, c := range []*Info{&a, &b} {
		c.LastDataSent, c.LastDataRecv, c.LastAckRecv = 0, 0, 0
		c.Busy.V, c.RwndLimited.V, c.SndbufLimited.V = 0, 0, 0
	}
	return a == b
}
