package verdict

import (
	"fmt"
	"time"

	"halfopen/sockstate"
)

// Class is the kind of a stall, told from the kernel's view of the connection and
// what the shipper read meanwhile.
type Class string

// The classes. What fits none of them is Unknown, never guessed.
const (
	HalfOpen        Class = "half-open"        // packets vanish: a path that was cut or forgot the flow
	ReceiverBlocked Class = "receiver blocked" // the receiver keeps the connection alive and acknowledges nothing
	SilentPeer      Class = "silent peer"      // a kernel acknowledges, the application behind it is gone
	ZeroWindow      Class = "zero window"      // the receiver stopped reading
	LocalDrop       Class = "local drop"       // this host's own rules refuse the packets
	IdleHalfOpen    Class = "idle half-open"   // as half-open, with nothing in flight: keepalive probes go unanswered
	CloseWait       Class = "close wait"       // the receiver closed the connection, the shipper does not
	NotConnected    Class = "not connected"    // refused, no answer to SYN, or connections that do not last
	Unknown         Class = "unknown"
)

// classify names the class of a stall that began at from, by the last reading of
// its connection, with the reasons and the records besides that reading. Sources:
// measured on Linux 6.18; net/ipv4/tcp_timer.c for the timers, tcp_info of
// include/uapi/linux/tcp.h for the ages.
func (j *judge) classify(c *conn, from time.Duration) (Class, string, []uint64) {
	last := c.lastSeen()
	k := last.sock
	switch {
	case k.State == sockstate.CloseWait:
		return CloseWait, fmt.Sprintf("the receiver has closed the connection (FIN), and the shipper has not: the socket is %s%s", k.State, ages(k)), nil
	case k.State != sockstate.Established:
		return NotConnected, fmt.Sprintf("the socket is %s", k.State), nil
	case k.RecvQ > 0 && k.SendQ == 0 && last.at-max(from, c.unreadSince()) >= j.th.Silent:
		return Unknown, fmt.Sprintf("%s were received that the shipper does not read: it is the shipper that hangs%s", count(k.RecvQ, "byte"), ages(k)), nil
	case k.Timer == sockstate.TimerRetransmit && k.Retransmits > 0 && k.SendQ > 0:
		class, why := j.retransmitting(k)
		return class, why, nil
	case k.Timer == sockstate.TimerProbe:
		class, why := j.probing(k)
		return class, why, nil
	case k.Timer == sockstate.TimerKeepalive && int(k.Retransmits) >= j.th.Probes:
		return IdleHalfOpen, fmt.Sprintf("nothing in flight, %s unanswered%s", count(k.Retransmits, "keepalive probe"), ages(k)), nil
	}
	return j.acknowledged(c, from)
}

// retransmitting: something in flight is sent again. An ACK that came meanwhile
// says that the peer is there.
func (j *judge) retransmitting(k sockstate.Socket) (Class, string) {
	what := fmt.Sprintf("%s in flight, sent again %s", count(k.SendQ, "byte"), count(k.Retransmits, "time"))
	silent := int(k.Retransmits) >= j.th.Retransmits
	if k.Info != nil {
		silent = j.silent(k) >= j.th.Silent
		if why, early := j.th.outage(k); early && !silent {
			return HalfOpen, fmt.Sprintf("%s without any answer, and %s; %s%s", what, why, backoff(k), ages(k))
		}
	}
	if !silent {
		return Unknown, fmt.Sprintf("%s, %s%s: the path loses packets, and is not known to be dead", what, backoff(k), ages(k))
	}
	return HalfOpen, fmt.Sprintf("%s without any answer, %s%s", what, backoff(k), ages(k))
}

// probing: something is to be sent and nothing in flight.
func (j *judge) probing(k sockstate.Socket) (Class, string) {
	what := count(k.SendQ, "byte") + " wait"
	if k.Info == nil {
		return Unknown, what + "; whether for the receiver's window or for this host's own rules, /proc does not tell"
	}
	switch wnd, ok := k.Info.SndWnd.Get(); {
	case !ok:
		return Unknown, what + "; whether for the receiver's window or for this host's own rules, the kernel does not tell"
	case wnd > 0:
		return LocalDrop, fmt.Sprintf("%s, the receiver's window is open (%d bytes), and still nothing is sent: this host drops the packets itself", what, wnd)
	case int(k.Retransmits) >= j.th.Retransmits && j.silent(k) >= j.th.Silent:
		return HalfOpen, fmt.Sprintf("%s for the receiver's window, which was zero, and %s went unanswered%s", what, count(k.Retransmits, "probe"), ages(k))
	}
	return ZeroWindow, what + " for the receiver's window, which is zero"
}

// acknowledged: some kernel has acknowledged all that was sent, or goes on doing
// so. Data that came back since tell a receiver that waits from one that is gone.
func (j *judge) acknowledged(c *conn, from time.Duration) (Class, string, []uint64) {
	last := c.lastSeen()
	k := last.sock
	heard, records := j.reads(from)
	told := fmt.Sprintf("all that was sent is acknowledged by a kernel, and the receiver still sends data%s", ages(k))
	if heard.any() {
		told = fmt.Sprintf("all that was sent is acknowledged by a kernel, and %s%s", heard, ages(k))
	}
	if k.Info != nil {
		if k.Info.LastDataRecv > 2*blockedTick {
			return SilentPeer, fmt.Sprintf("all that was sent is acknowledged by a kernel, and no data came back%s", ages(k)), nil
		}
		if !c.received(from) && !heard.any() {
			return Unknown, fmt.Sprintf("the connection is new: no data came back on it yet%s", ages(k)), nil
		}
		return ReceiverBlocked, told, records
	}
	switch {
	case !heard.known:
		return Unknown, fmt.Sprintf("the socket is %s, timer %s, %s in flight", k.State, k.Timer, count(k.SendQ, "byte")), nil
	case heard.any() && last.at-heard.last <= 2*blockedTick:
		return ReceiverBlocked, told, records
	}
	return SilentPeer, fmt.Sprintf("all that was sent is acknowledged by a kernel, and the shipper read nothing for %s", round(last.at-max(from, heard.last))), records
}

// received reports whether data came on the connection since a time, by the
// kernel's count.
func (c *conn) received(from time.Duration) bool {
	first, ok := c.seenAt(from)
	if !ok {
		first = c.seen[0]
	}
	last := c.lastSeen()
	if first.sock.Info == nil || last.sock.Info == nil {
		return false
	}
	before, ok1 := first.sock.Info.BytesReceived.Get()
	after, ok2 := last.sock.Info.BytesReceived.Get()
	if ok1 && ok2 {
		return after > before
	}
	// A kernel before 4.1: the age alone, which of a new connection is its own.
	read, _ := last.lastRead()
	return read > max(from, c.seen[0].since+time.Second)
}

// unreadSince is since when the shipper has left received bytes unread.
func (c *conn) unreadSince() time.Duration {
	s, _ := c.since(func(k sockstate.Socket) bool { return k.RecvQ > 0 })
	return s
}

// since is the beginning of the unbroken run of sightings, up to the last, of
// which something holds.
func (c *conn) since(holds func(sockstate.Socket) bool) (since time.Duration, ok bool) {
	since = c.lastSeen().at
	for i := len(c.seen) - 1; i >= 0 && holds(c.seen[i].sock); i-- {
		since, ok = c.seen[i].since, true
	}
	return since, ok
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
	received := fmt.Sprintf("last data received %s ago", round(k.Info.LastDataRecv))
	if n, ok := k.Info.BytesReceived.Get(); ok && n == 0 {
		received = "no data ever received" // the kernel counts from the connection's beginning
	}
	return fmt.Sprintf(", %s, last ACK %s ago", received, round(k.Info.LastAckRecv))
}
