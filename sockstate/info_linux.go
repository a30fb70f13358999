package sockstate

import (
	"encoding/binary"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// infiniteSsthresh is TCP_INFINITE_SSTHRESH (include/net/tcp.h).
const infiniteSsthresh = 0x7fffffff

// decodeInfo reads as much of a struct tcp_info as the kernel filled. The name of
// the congestion control and the memory come by attributes of their own and are
// left as they are.
func decodeInfo(b []byte, i *Info) {
	var t unix.TCPInfo // for its offsets alone
	u8 := func(off uintptr) uint8 {
		if int(off) < len(b) {
			return b[off]
		}
		return 0
	}
	u32 := func(off uintptr) Opt[uint32] {
		if len(b) < int(off)+4 {
			return Opt[uint32]{}
		}
		return Some(binary.NativeEndian.Uint32(b[off:]))
	}
	u64 := func(off uintptr) Opt[uint64] {
		if len(b) < int(off)+8 {
			return Opt[uint64]{}
		}
		return Some(binary.NativeEndian.Uint64(b[off:]))
	}
	micros := func(off uintptr) time.Duration { return time.Duration(u32(off).V) * time.Microsecond }
	millis := func(off uintptr) time.Duration { return time.Duration(u32(off).V) * time.Millisecond }
	spent := func(off uintptr) Opt[time.Duration] {
		v := u64(off)
		return Opt[time.Duration]{time.Duration(v.V) * time.Microsecond, v.OK}
	}

	*i = Info{
		CAState:     CAState(u8(unsafe.Offsetof(t.Ca_state))),
		Retransmits: u8(unsafe.Offsetof(t.Retransmits)),
		Probes:      u8(unsafe.Offsetof(t.Probes)),
		Backoff:     u8(unsafe.Offsetof(t.Backoff)),
		RTO:         micros(unsafe.Offsetof(t.Rto)),
		ATO:         micros(unsafe.Offsetof(t.Ato)),
		RTT:         micros(unsafe.Offsetof(t.Rtt)),
		RTTVar:      micros(unsafe.Offsetof(t.Rttvar)),
		SndMSS:      u32(unsafe.Offsetof(t.Snd_mss)).V,
		PMTU:        u32(unsafe.Offsetof(t.Pmtu)).V,

		Unacked:      u32(unsafe.Offsetof(t.Unacked)).V,
		Sacked:       u32(unsafe.Offsetof(t.Sacked)).V,
		Lost:         u32(unsafe.Offsetof(t.Lost)).V,
		Retrans:      u32(unsafe.Offsetof(t.Retrans)).V,
		TotalRetrans: u32(unsafe.Offsetof(t.Total_retrans)).V,

		LastDataSent: millis(unsafe.Offsetof(t.Last_data_sent)),
		LastDataRecv: millis(unsafe.Offsetof(t.Last_data_recv)),
		LastAckRecv:  millis(unsafe.Offsetof(t.Last_ack_recv)),

		Cwnd:     u32(unsafe.Offsetof(t.Snd_cwnd)).V,
		Ssthresh: u32(unsafe.Offsetof(t.Snd_ssthresh)),

		BytesAcked:    u64(unsafe.Offsetof(t.Bytes_acked)),
		BytesReceived: u64(unsafe.Offsetof(t.Bytes_received)),
		SegsOut:       u32(unsafe.Offsetof(t.Segs_out)),
		SegsIn:        u32(unsafe.Offsetof(t.Segs_in)),
		NotSent:       u32(unsafe.Offsetof(t.Notsent_bytes)),
		DataSegsIn:    u32(unsafe.Offsetof(t.Data_segs_in)),
		DataSegsOut:   u32(unsafe.Offsetof(t.Data_segs_out)),
		BytesSent:     u64(unsafe.Offsetof(t.Bytes_sent)),
		BytesRetrans:  u64(unsafe.Offsetof(t.Bytes_retrans)),
		SndWnd:        u32(unsafe.Offsetof(t.Snd_wnd)),
		RcvWnd:        u32(unsafe.Offsetof(t.Rcv_wnd)),

		Busy:          spent(unsafe.Offsetof(t.Busy_time)),
		RwndLimited:   spent(unsafe.Offsetof(t.Rwnd_limited)),
		SndbufLimited: spent(unsafe.Offsetof(t.Sndbuf_limited)),

		Congestion: i.Congestion,
		Mem:        i.Mem,
	}
	if i.Ssthresh.V >= infiniteSsthresh {
		i.Ssthresh = Opt[uint32]{}
	}
	// tcp_min_rtt is ~0 until the first sample (net/ipv4/tcp.c, tcp_init_sock).
	if min := u32(unsafe.Offsetof(t.Min_rtt)); min.OK && min.V != ^uint32(0) {
		i.MinRTT = Some(time.Duration(min.V) * time.Microsecond)
	}
}
