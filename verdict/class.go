package verdict

import (
	"fmt"
	"time"

	"halfopen/sockstate"
)

// Class is the kind of a stall, told from the kernel's view of the connection.
type Class string

// The classes. Of the others that exist, each needs a signature of its own; what
// fits none of these is Unknown, never guessed.
const (
	HalfOpen        Class = "half-open"        // packets vanish: a path that was cut or forgot the flow
	ReceiverBlocked Class = "receiver blocked" // the receiver keeps the connection alive and acknowledges nothing
	SilentPeer      Class = "silent peer"      // a kernel acknowledges, the application behind it is gone
	ZeroWindow      Class = "zero window"      // the receiver stopped reading
	LocalDrop       Class = "local drop"       // this host's own rules refuse the packets
	IdleHalfOpen    Class = "idle half-open"   // as half-open, with nothing in flight yet: keepalive probes go unanswered
	NotConnected    Class = "not connected"
	Unknown         Class = "unknown"
)

// classify names the class of a stall by the last reading of its connection,
// with the reasons. Sources: measured on Linux 6.18; net/ipv4/tcp_timer.c for
// the timers, tcp_info of include/uapi/linux/tcp.h for the ages.
func classify(s sighting) (Class, string) {
	k := s.sock
	switch {
	case k.State != sockstate.Established:
		return NotConnected, fmt.Sprintf("the socket is %s", k.State)
	case k.Timer == sockstate.TimerRetransmit && k.Retransmits > 0 && k.SendQ > 0:
		return HalfOpen, fmt.Sprintf("%s in flight, sent again %s without any answer, %s%s",
			count(k.SendQ, "byte"), count(k.Retransmits, "time"), backoff(k), ages(k))
	case k.Timer == sockstate.TimerProbe && k.Info != nil:
		switch wnd, ok := k.Info.SndWnd.Get(); {
		case !ok:
			return Unknown, fmt.Sprintf("%s wait; whether for the receiver's window or for this host's own rules, the kernel does not tell", count(k.SendQ, "byte"))
		case wnd > 0:
			return LocalDrop, fmt.Sprintf("%s wait, the receiver's window is open (%d bytes), and still nothing is sent: this host drops the packets itself",
				count(k.SendQ, "byte"), wnd)
		}
		return ZeroWindow, fmt.Sprintf("%s wait for the receiver's window, which is zero", count(k.SendQ, "byte"))
	case k.Timer == sockstate.TimerKeepalive && k.Retransmits > 0:
		return IdleHalfOpen, fmt.Sprintf("nothing in flight, %s unanswered", count(k.Retransmits, "keepalive probe"))
	case k.SendQ == 0 && k.Info != nil && k.Info.LastDataRecv > 2*blockedTick:
		return SilentPeer, fmt.Sprintf("all that was sent is acknowledged by a kernel, and no data came back%s", ages(k))
	case k.SendQ == 0 && k.Info != nil:
		return ReceiverBlocked, fmt.Sprintf("all that was sent is acknowledged by a kernel, and the receiver still sends data%s", ages(k))
	}
	return Unknown, fmt.Sprintf("the socket is %s, timer %s, %s in flight", k.State, k.Timer, count(k.SendQ, "byte"))
}

// blockedTick is how often Logstash tells a waiting client that it is alive
// (5 s, logstash-input-beats, BeatsHandler): an ACK of sequence 0.
const blockedTick = 5 * time.Second

func backoff(k sockstate.Socket) string {
	if k.Info == nil {
		return fmt.Sprintf("timer %s", k.Timer)
	}
	return fmt.Sprintf("RTO doubled %s to %s", count(uint32(k.Info.Backoff), "time"), round(k.Info.RTO))
}

func ages(k sockstate.Socket) string {
	if k.Info == nil {
		return ""
	}
	return fmt.Sprintf(", last data received %s ago, last ACK %s ago", round(k.Info.LastDataRecv), round(k.Info.LastAckRecv))
}
