package verdict

import (
	"fmt"

	"halfopen/sockstate"
)

// quiet: all that was sent is acknowledged by a kernel. Whether the receiver has
// taken it, only the shipper's counters tell, and the ages of what went to and fro.
func (g *glance) quiet(c *conn) opinion {
	k := c.lastSeen().sock
	switch {
	case g.says.known && g.says.waiting == 0:
		if g.busy(c) {
			return opinion{Healthy, "", "what was sent is acknowledged, and nothing waits" + ages(k), 0}
		}
		return opinion{Idle, "", "nothing waits" + ages(k), 0}
	case g.says.moved && unreplied(k) && k.Info.LastDataSent >= g.th.StallAfter:
		return g.passedOver(k)
	case g.says.moved && g.busy(c):
		return opinion{Healthy, "", "acks move" + ages(k), 0}
	case g.says.moved && len(g.conns) > 1:
		return opinion{Idle, "", "nothing is in flight here; acks move on others" + ages(k), 0}
	case g.says.moved:
		return opinion{Healthy, "", "acks move" + ages(k), 0}
	case g.says.known:
		return g.waiting(c)
	}
	return g.uncounted(c)
}

// unreplied reports whether data were sent and none came since. Of a connection
// that was never used the ages are its own.
func unreplied(k sockstate.Socket) bool {
	if k.Info == nil {
		return false
	}
	sent, told := k.Info.DataSegsOut.Get()
	return k.Info.LastDataRecv > k.Info.LastDataSent && !(told && sent == 0)
}

// passedOver: acks move, and nothing came for long in answer to what was sent here.
func (g *glance) passedOver(k sockstate.Socket) opinion {
	sent := k.Info.LastDataSent
	if g.says.sent {
		return opinion{Stuck, SilentPeer, fmt.Sprintf("what was sent %s ago has had no answer but the kernel's, and events that were sent wait for one; acks move, but not by this connection%s", round(sent), ages(k)), sent}
	}
	return opinion{Untold, "", fmt.Sprintf("what was sent %s ago has had no answer but the kernel's: a silent peer, or a protocol without acknowledgements; acks move, but not by this connection%s", round(sent), ages(k)), 0}
}

// busy reports whether something was sent of late.
func (g *glance) busy(c *conn) bool {
	first, last := c.seen[0].sock.Info, c.lastSeen().sock.Info
	if last == nil {
		return false
	}
	before, ok1 := ackedBytes(first)
	after, ok2 := ackedBytes(last)
	return ok1 && ok2 && after > before || last.LastDataSent < g.th.Fresh
}

// waiting: the counters say that events wait, and acks did not move.
func (g *glance) waiting(c *conn) opinion {
	k := c.lastSeen().sock
	i := k.Info
	what := waits(g.says.waiting)
	if i == nil {
		return opinion{Untold, "", what + "; when the last data went to and fro on the connection, /proc does not tell", 0}
	}
	// Nothing went out between the readings, so events that were sent before the
	// first were sent that long ago.
	both := min(i.LastDataSent, i.LastDataRecv)
	mine := len(g.conns) == 1 || unreplied(k)
	switch {
	case g.says.stood >= g.th.StallAfter && mine:
		class, why, _ := g.classify(c, g.says.from)
		return opinion{Stuck, class, fmt.Sprintf("%s, and no ack came for %s; %s", what, round(g.says.stood), why), g.says.stood}
	case i.LastDataSent < g.th.Fresh:
		return opinion{Healthy, "", fmt.Sprintf("%s; the last were sent %s ago%s", what, round(i.LastDataSent), ages(k)), 0}
	case g.says.sent && mine && k.RecvQ == 0 && both >= g.th.StallAfter:
		class, why, _ := g.classify(c, g.says.from)
		return opinion{Stuck, class, fmt.Sprintf("%s that were sent %s ago or earlier; %s", what, round(i.LastDataSent), why), both}
	case k.RecvQ > 0 && g.says.stood > 0 && i.LastDataRecv >= g.th.StallAfter && g.unreadInBoth(c):
		return opinion{Stuck, Unknown, fmt.Sprintf("%s, and the shipper leaves %s unread that came %s ago: it is the shipper that hangs", what, count(k.RecvQ, "byte"), round(i.LastDataRecv)), i.LastDataRecv}
	case i.LastDataRecv <= 2*blockedTick && g.says.sent:
		return opinion{Untold, "", fmt.Sprintf("%s; nothing was sent for %s, and the receiver still sends data%s: it is blocked, or slow", what, round(i.LastDataSent), ages(k)), g.says.stood}
	case !mine:
		return opinion{Untold, "", fmt.Sprintf("%s, on which of %s can't be told%s", what, count(len(g.conns), "connection"), ages(k)), 0}
	}
	return opinion{Untold, "", fmt.Sprintf("%s, and nothing was sent for %s%s: not long enough for a stall, as far as was seen", what, round(i.LastDataSent), ages(k)), g.says.stood}
}

func (g *glance) unreadInBoth(c *conn) bool {
	return len(c.seen) > 1 && c.seen[0].sock.RecvQ == c.lastSeen().sock.RecvQ
}

// uncounted: nothing tells how many events wait. A protocol with acknowledgements
// has had its answer where data came after the last were sent.
func (g *glance) uncounted(c *conn) opinion {
	k := c.lastSeen().sock
	i := k.Info
	if i == nil {
		return opinion{Untold, "", "nothing is in flight; without the shipper's counters and tcp_info, /proc alone does not tell more", 0}
	}
	sent, came := i.DataSegsOut.Get()
	switch {
	case g.busy(c):
		return opinion{Healthy, "", "what was sent is acknowledged by the peer's kernel" + ages(k), 0}
	case k.RecvQ > 0:
		return opinion{Untold, "", fmt.Sprintf("%s are unread: the shipper hangs, or has no reason to read; its counters are not known%s", count(k.RecvQ, "byte"), ages(k)), 0}
	case came && sent == 0:
		return opinion{Idle, "", "nothing was ever sent on it" + ages(k), 0}
	case unreplied(k):
		return opinion{Untold, "", fmt.Sprintf("what was sent %s ago has had no answer but the kernel's: a silent peer, or a protocol without acknowledgements; the shipper's counters are not known%s", round(i.LastDataSent), ages(k)), 0}
	case i.LastDataSent-i.LastDataRecv > blockedTick && i.LastDataRecv <= 2*blockedTick:
		return opinion{Untold, "", fmt.Sprintf("the receiver still sends data, %s after anything was sent to it: it is blocked, or slow; the shipper's counters are not known%s", round(i.LastDataSent-i.LastDataRecv), ages(k)), 0}
	}
	if g.whyUnread() != "" { // it should have answered: it may be hung, with a queue that nobody sees
		return opinion{Untold, "", "what was sent was answered; what the shipper holds is not known, since its counters could not be read" + ages(k), 0}
	}
	return opinion{Idle, "", "what was sent was answered, and nothing waits in the kernel; what the shipper holds is not known" + ages(k), 0}
}

// ackedBytes is the kernel's count of acknowledged bytes; i may be nil.
func ackedBytes(i *sockstate.Info) (uint64, bool) {
	if i == nil {
		return 0, false
	}
	return i.BytesAcked.Get()
}
