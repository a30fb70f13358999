// Package sockstate reads the kernel's TCP sockets of one network namespace:
// the text of /proc/net/tcp{,6}, inet_diag with tcp_info, the notices of sockets
// that end. It destroys a socket when asked, names the process that owns one,
// and forecasts when the kernel will give a connection up.
package sockstate

import (
	"fmt"
	"strconv"
)

// State is a TCP state, numbered as in include/net/tcp_states.h.
type State uint8

// The states. NewSynRecv is how the kernel marks a connection request that is
// not yet a socket (struct request_sock); people read SYN_RECV for both.
const (
	Established State = 1 + iota
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Close
	CloseWait
	LastAck
	Listen
	Closing
	NewSynRecv
)

var stateNames = []string{
	"", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT",
	"CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "SYN_RECV",
}

// String spells the state as the kernel does, without "TCP_"; a number that has
// no name is given in decimal.
func (s State) String() string { return name(stateNames, uint8(s)) }

// MarshalText is String; it never fails.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(text []byte) error {
	n, err := number("state", stateNames, text)
	if err == nil {
		*s = State(n)
	}
	return err
}

// Timer is the timer that runs on a socket: column tr of /proc/net/tcp,
// idiag_timer of inet_diag (net/ipv4/tcp_ipv4.c, get_tcp4_sock).
type Timer uint8

const (
	// TimerOff: nothing is in flight and keepalive is switched off.
	TimerOff Timer = iota
	// TimerRetransmit waits for an acknowledgement: retransmission (RTO), tail
	// loss probe and RACK reordering timer, which the kernel shows alike. With
	// no retransmission yet it is seen on healthy connections too.
	TimerRetransmit
	// TimerKeepalive is the keepalive timer; on an orphaned FIN_WAIT2 socket,
	// the end of its life.
	TimerKeepalive
	// TimerTimeWait is the rest of a TIME_WAIT or FIN_WAIT2 minisocket's life.
	TimerTimeWait
	// TimerProbe means that there is data to send and none in flight: the peer's
	// window is zero (RFC 9293, section 3.8.6.1), or it is open and this host
	// itself refused the segment, by a netfilter rule in its own output path.
	// snd_wnd of tcp_info tells the two apart. Either way the probes that go
	// unanswered are in Socket.Retransmits, while column retrnsmt stays 0.
	TimerProbe
)

var timerNames = []string{"off", "retransmit", "keepalive", "timewait", "probe"}

// String names the timer; a number without a name is given in decimal.
func (t Timer) String() string { return name(timerNames, uint8(t)) }

// MarshalText is String; it never fails.
func (t Timer) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *Timer) UnmarshalText(text []byte) error {
	n, err := number("timer", timerNames, text)
	if err == nil {
		*t = Timer(n)
	}
	return err
}

// CAState is the state of congestion control (enum tcp_ca_state,
// include/uapi/linux/tcp.h).
type CAState uint8

var caNames = []string{"Open", "Disorder", "CWR", "Recovery", "Loss"}

// String names the state as the kernel does; a number without a name is given
// in decimal.
func (c CAState) String() string { return name(caNames, uint8(c)) }

// MarshalText is String; it never fails.
func (c CAState) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *CAState) UnmarshalText(text []byte) error {
	n, err := number("congestion control state", caNames, text)
	if err == nil {
		*c = CAState(n)
	}
	return err
}

func name(names []string, n uint8) string {
	if int(n) < len(names) && names[n] != "" {
		return names[n]
	}
	return strconv.Itoa(int(n))
}

func number(kind string, names []string, text []byte) (uint8, error) {
	for n, name := range names {
		if name != "" && name == string(text) {
			return uint8(n), nil
		}
	}
	n, err := strconv.ParseUint(string(text), 10, 8)
	if err != nil {
		return 0, fmt.Errorf("read TCP %s: unknown name %q", kind, text)
	}
	return uint8(n), nil
}
