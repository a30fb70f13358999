package verdict

import (
	"fmt"
	"slices"
	"time"

	"halfopen/flow"
	"halfopen/sockstate"
)

// mapped is a connection as the receiver sees it: by a conntrack entry of its
// lifetime where there is one, else, if the receiver knows the shipper by its own
// address, the same 4-tuple from the other side.
func (r *run) mapped(c *conn) (far flow.Flow, record uint64, ok bool) {
	for _, k := range r.tracked {
		if k.at < c.seen[0].since-time.Second || c.gone != 0 && k.at >= c.gone {
			continue
		}
		for _, e := range k.body.Entries {
			if e.Orig == c.flow {
				return e.Receiver(), k.n, true
			}
		}
	}
	for _, k := range r.notices {
		if e := k.body.Event.Entry; e.Orig == c.flow && k.at >= c.seen[0].since-time.Second && (c.gone == 0 || k.at < c.gone) {
			return e.Receiver(), k.n, true
		}
	}
	far = c.flow.Reverse()
	return far, 0, slices.ContainsFunc(r.far, func(f *conn) bool { return f.flow.Remote.Addr() == far.Remote.Addr() })
}

// bothSides compares the shipper's socket with the receiver's of the same
// connection.
func (j *judge) bothSides() {
	far, mapN, ok := j.mapped(j.conn)
	if !ok || j.looked.far.n == 0 || j.last.Mono-j.looked.far.at > j.th.Fresh {
		return
	}
	last := j.conn.lastSeen()
	records := []uint64{last.n}
	if mapN != 0 {
		records = append(records, mapN)
	}
	other := j.across(far)
	switch {
	case other == nil:
		j.find("two-sided proof", fmt.Sprintf("the receiver has no socket of this connection (%s), while the shipper's is %s", far, last.sock.State), append(records, j.looked.far.n)...)
	case other.gone != 0:
		j.find("two-sided proof", fmt.Sprintf("the receiver has no socket of this connection any more (%s, gone since %s), while the shipper's is %s", far, j.clock(other.gone), last.sock.State), append(records, other.goneN)...)
	default:
		j.otherEnd(other, records)
		return
	}
	switch j.v.Class {
	case SilentPeer, ReceiverBlocked, ZeroWindow:
		j.v.Confidence = Low
		j.find("signals disagree", "the receiver has no socket of this connection, and yet something answers in its place: a proxy on the path, or a receiver that was not recorded", records...)
	}
}

// across is the receiver's last socket with a 4-tuple while the judged connection
// lived.
func (j *judge) across(far flow.Flow) (found *conn) {
	for _, c := range j.far {
		if c.flow == far && (c.gone == 0 || c.gone > j.conn.seen[0].since) {
			found = c
		}
	}
	return found
}

// otherEnd tells of the receiver's socket.
func (j *judge) otherEnd(c *conn, records []uint64) {
	s := c.lastSeen()
	records = append(records, s.n)
	read, ok := s.lastRead()
	if !ok {
		j.find("receiver's side", fmt.Sprintf("the receiver's socket of this connection (%s) is %s", c.flow, s.sock.State), records...)
		return
	}
	age := j.last.Mono - read
	j.find("receiver's side", fmt.Sprintf("the receiver's socket of this connection (%s) is %s and last received data %s before the end", c.flow, s.sock.State, round(age)), records...)
	j.leftUnread(c)
	if room, ok := window(s.sock); ok && room > 0 && j.v.Class == ZeroWindow && age >= j.th.Fresh {
		j.find("closed on the way", fmt.Sprintf("the receiver's socket offers a window of %s, and the shipper's was told zero: it is not the receiver that has no room, something on the path closes its window", count(room, "byte")), records...)
	}
	if j.v.Class == HalfOpen && age < j.th.Silent && s.sock.SendQ > 0 {
		j.find("one way", "the receiver still gets what the shipper sends, and its own answers do not arrive: only the way back is dead", records...)
	}
}

// leftUnread tells of a receiver that has read nothing for a while: what came and what
// waits grow alike.
func (j *judge) leftUnread(c *conn) {
	taken := func(k sockstate.Socket) (n uint64, ok bool) {
		if k.Info == nil || k.RecvQ == 0 {
			return 0, false
		}
		came, ok := k.Info.BytesReceived.Get()
		return came - uint64(k.RecvQ), ok
	}
	last := c.lastSeen()
	read, ok := taken(last.sock)
	if !ok {
		return
	}
	since, _ := c.since(func(k sockstate.Socket) bool { n, ok := taken(k); return ok && n == read })
	if stood := last.at - since; stood >= j.th.Silent {
		j.find("receiver hangs", fmt.Sprintf("the receiver has read nothing of this connection for %s, and %s wait in its socket: it is the receiver that hangs", round(stood), count(last.sock.RecvQ, "byte")), last.n)
	}
}

// window is the room that a socket offers to its peer.
func window(k sockstate.Socket) (bytes uint32, ok bool) {
	if k.Info == nil {
		return 0, false
	}
	return k.Info.RcvWnd.Get()
}

func (j *judge) staleDrops() {
	if j.cut.stale > 0 {
		j.find("forgotten flow", fmt.Sprintf("after the cut the path dropped %s, because they belonged to a flow it no longer knew, while new connections passed", count(j.cut.stale, "more packet")), j.cut.endN, j.cut.staleN)
	}
}
