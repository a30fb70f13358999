package capture

import (
	"net/netip"
	"slices"
	"time"

	"halfopen/flow"
)

// Observer follows the connections of one place, each at each interface that its
// packets pass, while they pass.
type Observer struct {
	Ports flow.Ports
	Not   netip.Addr // address whose connections are left out; the zero Addr: none

	conns   map[key]*conn
	touched []*conn
	out     []Connection // of connections that had to make room
}

type key struct {
	name string
	flow flow.Flow
}

// conn is a connection that is followed.
type conn struct {
	key
	toward, from half
	signs        []Sign
	more         int
	touched      bool
	told         time.Duration // monotonic: when it was told of last; 0: never
	retransmits  uint64        // told then
}

// What an Observer holds, and how often it tells of a connection that goes on.
const (
	maxConns      = 4096
	tellEvery     = 10 * time.Second
	tellResending = time.Second // of one that sends again
)

// Add takes a packet; Raw is not kept.
func (o *Observer) Add(p Packet) {
	if o.Not.IsValid() && (p.Source.Addr() == o.Not || p.Destination.Addr() == o.Not) {
		return
	}
	k, d := key{p.Interface, flow.New(p.Source, p.Destination)}, Toward
	if !o.Ports.Has(p.Destination.Port()) {
		k.flow, d = k.flow.Reverse(), From
	}
	c := o.conns[k]
	if c != nil && p.Flags&(SYN|ACK) == SYN && d == Toward && c.toward.Base != nil && (*c.toward.Base != p.Seq || !c.toward.Opened) {
		o.drop(c) // the ports are used again
		c = nil
	}
	if c == nil {
		c = o.follow(k)
	}
	if !c.touched {
		c.touched = true
		o.touched = append(o.touched, c)
	}
	own, other := c.halves(d)
	if p.Flags&(SYN|FIN|RST) != 0 {
		if len(c.signs) < MaxSigns {
			c.signs = append(c.signs, c.sign(p, d, own, other))
		} else {
			c.more++
		}
	}
	if p.Flags&RST == 0 {
		own.take(p)
		own.Opened = own.Opened || p.Flags&SYN != 0
		if p.Flags&ACK != 0 {
			other.acknowledged(p.Ack, p.Time)
		}
	}
	own.count(p)
}

func (c *conn) halves(d Direction) (own, other *half) {
	if d == Toward {
		return &c.toward, &c.from
	}
	return &c.from, &c.toward
}

// sign describes a packet before it is counted.
func (c *conn) sign(p Packet, d Direction, own, other *half) Sign {
	s := Sign{
		Time: p.Time, Mono: p.Mono, Direction: d, Way: p.Way, Flags: p.Flags.String(),
		Bytes: p.Payload, Window: p.Window, TTL: p.TTL,
	}
	if id, before := p.ID, own.id; !p.V6 {
		if s.ID = &id; own.Packets > 0 {
			s.Before = &before
		}
	}
	if own.Base != nil {
		seq, expected := own.relative(p.Seq), own.next
		s.Seq, s.Expected = &seq, &expected
	} else if p.Flags&SYN != 0 {
		s.Seq = new(int64)
	}
	if own.anyAck {
		acked := own.acked
		s.Acked = &acked
	}
	if p.Flags&ACK != 0 && other.Base != nil {
		ack := other.relative(p.Ack)
		s.Ack = &ack
	}
	if other.Packets > 0 {
		after := p.Time.Sub(other.Last)
		s.After = &after
	}
	return s
}

func (o *Observer) follow(k key) *conn {
	if o.conns == nil {
		o.conns = map[key]*conn{}
	}
	if len(o.conns) == maxConns {
		o.drop(o.stalest())
	}
	c := &conn{key: k}
	o.conns[k] = c
	return c
}

// stalest is the connection to forget first: of those that have ended, if there are
// any, the one whose last packet is the oldest.
func (o *Observer) stalest() (worst *conn) {
	before := func(a, b *conn) bool {
		if a.ended() != b.ended() {
			return a.ended()
		}
		return a.last() < b.last()
	}
	for _, c := range o.conns {
		if worst == nil || before(c, worst) {
			worst = c
		}
	}
	return worst
}

func (c *conn) ended() bool {
	return c.toward.reset || c.from.reset || c.toward.ended && c.from.ended
}

func (c *conn) last() time.Duration { return max(c.toward.LastMono, c.from.LastMono) }

// drop forgets a connection, once what it has to say is kept.
func (o *Observer) drop(c *conn) {
	if c.touched {
		o.out = append(o.out, c.tell())
		o.touched = slices.DeleteFunc(o.touched, func(t *conn) bool { return t == c })
	}
	delete(o.conns, c.key)
}

// Due is what there is to tell at a monotonic time: at once of a connection with a
// SYN, FIN or RST, soon of one that sends again, and now and then of the others, if
// any packet came. All is everything that was not told.
func (o *Observer) Due(now time.Duration, all bool) (list []Connection) {
	list, o.out = o.out, nil
	rest := o.touched[:0]
	for _, c := range o.touched {
		since := now - c.told
		resends := c.toward.Retransmits+c.toward.Late+c.from.Retransmits+c.from.Late > c.retransmits
		if !all && len(c.signs) == 0 && since < tellEvery && (!resends || since < tellResending) {
			rest = append(rest, c)
			continue
		}
		list = append(list, c.tell())
		c.told = now
	}
	clear(o.touched[len(rest):])
	o.touched = rest
	return list
}

func (c *conn) tell() Connection {
	t := Connection{Interface: c.name, Flow: c.flow, Toward: c.toward.told(), From: c.from.told(), Signs: c.signs, More: c.more}
	c.signs, c.more, c.touched = nil, 0, false
	c.retransmits = c.toward.Retransmits + c.toward.Late + c.from.Retransmits + c.from.Late
	return t
}
