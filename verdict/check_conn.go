package verdict

import (
	"fmt"
	"time"

	"halfopen/sockstate"
)

// opinion is what a glance says of a connection.
type opinion struct {
	health Health
	class  Class
	why    string
	stood  time.Duration // that something is known to wait; 0: nothing is
}

func (g *glance) connection(c *conn) ConnCheck {
	k := c.lastSeen().sock
	o := g.judgeConn(c)
	out := ConnCheck{
		Connection: c.flow, State: k.State, Health: o.health, Class: o.class, Why: o.why,
		Timer: k.Timer, TimerIn: k.TimerIn, Retransmits: k.Retransmits, Unacked: k.SendQ, Unread: k.RecvQ,
		Next: next(o.health, o.class, &c.flow),
	}
	if o.health == Stuck && o.class == HalfOpen && o.stood < g.th.StallAfter {
		out.Confidence = Low
		out.Why += "; " + young(o.stood)
	}
	if o.stood > 0 {
		out.Stood = &o.stood
	}
	if i := k.Info; i != nil {
		out.Backoff, out.RTO = &i.Backoff, &i.RTO
		if k.State != sockstate.SynSent { // ages begin with the connection
			out.LastAck, out.LastSent, out.LastReceived = &i.LastAckRecv, &i.LastDataSent, &i.LastDataRecv
		}
		if n, ok := i.NotSent.Get(); ok {
			out.Unsent = &n
		}
	}
	if o.health == Stuck || o.health == Untold && o.stood > 0 {
		out.Ends = g.ends(c, o.class)
	}
	return out
}

// ends is what could still end the stall of a connection.
func (g *glance) ends(c *conn, class Class) []End {
	last := c.lastSeen()
	j := &judge{run: g.run, th: g.th, v: Verdict{Class: class}}
	if last.sock.State != sockstate.Established {
		bare := *g.run // the shipper's timeout is for connections that are up
		bare.settings = nil
		j.run = &bare
	}
	j.forecast(last)
	return j.v.Ends
}

func (g *glance) judgeConn(c *conn) opinion {
	k := c.lastSeen().sock
	switch {
	case k.State == sockstate.SynSent:
		return g.connecting(k)
	case k.State == sockstate.CloseWait:
		return g.closedByPeer(c)
	case k.Timer == sockstate.TimerRetransmit && k.Retransmits > 0 && k.SendQ > 0:
		return g.sentAgain(c)
	case k.Timer == sockstate.TimerProbe:
		return g.windowProbed(c)
	case k.Timer == sockstate.TimerKeepalive && k.Retransmits > 0:
		return g.probedIdle(c)
	case k.SendQ > 0:
		return g.inFlight(k)
	}
	return g.quiet(c)
}

// connecting: a SYN without an answer.
func (g *glance) connecting(k sockstate.Socket) opinion {
	silent, _ := sockstate.Unanswered(k, g.tuned())
	o := opinion{Untold, "", "a connection is being made", 0}
	if k.Retransmits > 0 {
		o.class, o.stood = NotConnected, silent
		o.why = fmt.Sprintf("%s does not answer: SYN sent again %s, for at least %s", k.Remote, count(k.Retransmits, "time"), round(silent))
		if silent >= g.th.Silent {
			o.health = Stuck
		}
	}
	return o
}

// sentAgain: something in flight is sent again. The age of the last ACK alone is no
// proof, for nothing may have been sent before.
func (g *glance) sentAgain(c *conn) opinion {
	k := c.lastSeen().sock
	class, why, _ := g.classify(c, 0)
	silent := g.silent(k)
	unacked, _ := sockstate.Unanswered(k, g.tuned()) // other ACKs may have come
	_, early := g.th.outage(k)
	told := fmt.Sprintf("%s in flight, sent again %s, %s%s", count(k.SendQ, "byte"), count(k.Retransmits, "time"), backoff(k), ages(k))
	switch {
	case class == HalfOpen && (early || silent >= g.th.Silent):
		return opinion{Stuck, class, why, silent}
	case unacked < g.th.Fresh:
		return opinion{Healthy, "", told + ": no more than a loss so far", silent}
	case silent >= g.th.Fresh:
		return opinion{Untold, "", fmt.Sprintf("%s: without an answer for %s at least, not long enough for a proof", told, round(silent)), silent}
	case unacked >= g.th.StallAfter:
		return opinion{Stuck, Unknown, fmt.Sprintf("%s: not acknowledged for %s at least, while packets of the receiver come: only the way to it is dead", told, round(unacked)), unacked}
	}
	return opinion{Untold, "", fmt.Sprintf("%s: not acknowledged for %s at least, while packets of the receiver come: the way to it loses packets, or is dead", told, round(unacked)), unacked}
}

// windowProbed: something is to be sent and nothing in flight.
func (g *glance) windowProbed(c *conn) opinion {
	k := c.lastSeen().sock
	class, why, _ := g.classify(c, 0)
	probed, _ := sockstate.Unanswered(k, g.tuned())
	stood, enough := probed, g.th.StallAfter
	if i := k.Info; i != nil {
		switch class {
		case LocalDrop, HalfOpen:
			stood, enough = g.silent(k), g.th.Silent
		default:
			stood = min(probed, i.LastDataSent) // a probe of a closed window carries none
		}
	}
	switch {
	case stood >= enough:
		return opinion{Stuck, class, fmt.Sprintf("%s, for at least %s", why, round(stood)), stood}
	case stood < g.th.Fresh:
		return opinion{Healthy, "", fmt.Sprintf("%s held back, for %s so far%s", count(k.SendQ, "byte"), round(stood), ages(k)), stood}
	}
	return opinion{Untold, class, fmt.Sprintf("%s, for at least %s, not long enough for a stall", why, round(stood)), stood}
}

// probedIdle: keepalive probes without an answer, nothing in flight.
func (g *glance) probedIdle(c *conn) opinion {
	k := c.lastSeen().sock
	class, why, _ := g.classify(c, 0)
	if class != IdleHalfOpen {
		return opinion{Idle, "", fmt.Sprintf("nothing in flight; %s under way%s", count(k.Retransmits, "keepalive probe"), ages(k)), 0}
	}
	if k.Info == nil {
		return opinion{Stuck, class, why, 0}
	}
	if k.Info.LastAckRecv < g.th.Silent {
		return opinion{Untold, class, why + ": not long enough for a proof", k.Info.LastAckRecv}
	}
	return opinion{Stuck, class, why, k.Info.LastAckRecv}
}

// inFlight: sent, and not yet time for an answer.
func (g *glance) inFlight(k sockstate.Socket) opinion {
	what := fmt.Sprintf("%s in flight%s", count(k.SendQ, "byte"), ages(k))
	if k.Info != nil && min(k.Info.LastDataSent, k.Info.LastAckRecv) >= g.th.Silent {
		return opinion{Untold, "", what + ", and the kernel does not send them again: why, it does not tell", min(k.Info.LastDataSent, k.Info.LastAckRecv)}
	}
	return opinion{Healthy, "", what, 0}
}

// closedByPeer: the receiver has closed the connection (FIN), the shipper has not.
// The FIN came with the last ACK, or before it.
func (g *glance) closedByPeer(c *conn) opinion {
	k := c.lastSeen().sock
	_, why, _ := g.classify(c, 0)
	if silent, ok := sockstate.Unanswered(k, g.tuned()); ok && k.SendQ > 0 {
		if silent = min(silent, deref(lastAck(k))); silent >= g.th.Silent {
			return opinion{Stuck, CloseWait, fmt.Sprintf("%s; %s in flight, sent again %s without any answer", why, count(k.SendQ, "byte"), count(k.Retransmits, "time")), silent}
		}
	}
	age := max(deref(lastAck(k)), 0)
	switch {
	case g.pile >= g.th.Storm && age >= g.th.StallAfter:
		return opinion{Stuck, CloseWait, fmt.Sprintf("%s; it is one of %d that the shipper does not close", why, g.pile), age}
	case !g.up && g.says.stood > 0 && age >= g.th.StallAfter:
		return opinion{Stuck, CloseWait, fmt.Sprintf("%s, and %s", why, waits(g.says.waiting)), age}
	case g.says.known && g.says.waiting == 0:
		return opinion{Idle, CloseWait, why + "; nothing waits, and the shipper's next write will find out", 0}
	}
	return opinion{Untold, CloseWait, why + "; it may be about to close it, or to write into it", 0}
}

func lastAck(k sockstate.Socket) *time.Duration {
	if k.Info == nil {
		return nil
	}
	return &k.Info.LastAckRecv
}
