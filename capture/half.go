package capture

import (
	"slices"
	"time"
)

// half follows the numbers of one direction.
type half struct {
	Half
	next, acked  int64
	anyAck       bool
	holes        []span        // bytes below next that did not pass here
	id           uint16        // of the last packet
	ttl          [2]uint8      // least and greatest
	rtt          time.Duration // 0: not known
	pending      int64         // number whose acknowledgement is timed; 0: none
	pendingSince time.Time
	reset, ended bool // RST, FIN
}

// span is [from, to).
type span struct{ from, to int64 }

// maxHoles bounds what is remembered of bytes that are missing; of the oldest it is
// then forgotten that they are, and they count as retransmitted when they come.
const maxHoles = 64

// begin sets the number that relative ones count from.
func (h *half) begin(base uint32, next int64) {
	h.Base, h.next = &base, next
}

// relative is the number nearest to the next one that a sequence number may mean.
func (h *half) relative(seq uint32) int64 {
	return h.next + int64(int32(seq-(*h.Base+uint32(h.next))))
}

// take counts a packet without RST.
func (h *half) take(p Packet) {
	if h.Base == nil {
		if p.Flags&SYN != 0 {
			h.begin(p.Seq, 0)
		} else {
			h.begin(p.Seq-1, 1)
		}
	}
	from := h.relative(p.Seq)
	to := from + int64(p.Payload)
	for _, f := range []Flags{SYN, FIN} { // each takes a number
		if p.Flags&f != 0 {
			to++
		}
	}
	switch {
	case to == from: // an ACK, or a probe of keepalive, which has no byte
	case p.Payload == 1 && h.anyAck && to <= h.acked: // a probe of a system that sends an old byte with it
	case from >= h.next:
		if from > h.next {
			h.miss(span{h.next, from})
		}
		h.next = to
		if h.pending == 0 {
			h.pending, h.pendingSince = to, p.Time
		}
	case h.fill(span{from, to}):
		h.Late += uint64(p.Segments)
		h.next = max(h.next, to)
	default:
		h.Retransmits += uint64(p.Segments)
		h.next, h.pending = max(h.next, to), 0 // whose acknowledgement it would be is not known (Karn)
	}
}

func (h *half) miss(s span) {
	if len(h.holes) == maxHoles {
		h.holes = slices.Delete(h.holes, 0, 1)
	}
	h.holes = append(h.holes, s)
}

// fill reports whether any of the bytes was missing; they no longer are.
func (h *half) fill(s span) (some bool) {
	var left []span
	for _, hole := range h.holes {
		if s.to <= hole.from || hole.to <= s.from {
			left = append(left, hole)
			continue
		}
		some = true
		if hole.from < s.from {
			left = append(left, span{hole.from, s.from})
		}
		if s.to < hole.to {
			left = append(left, span{s.to, hole.to})
		}
	}
	h.holes = left[:min(len(left), maxHoles)]
	return some
}

// acknowledged takes what a packet of the other half says.
func (h *half) acknowledged(ack uint32, at time.Time) {
	if h.Base == nil {
		h.begin(ack-1, 1)
	}
	n := h.relative(ack)
	if !h.anyAck || n > h.acked {
		h.acked, h.anyAck = n, true
	}
	if h.pending != 0 && n >= h.pending {
		if rtt := at.Sub(h.pendingSince); rtt > 0 && (h.rtt == 0 || rtt < h.rtt) {
			h.rtt = rtt
		}
		h.pending = 0
	}
}

// count takes what every packet of the half says of its way.
func (h *half) count(p Packet) {
	if h.Packets++; h.Packets == 1 {
		h.First = p.Time
	}
	h.Bytes += uint64(p.Payload)
	h.Last, h.LastMono, h.Way = p.Time, p.Mono, p.Way
	if h.reset && p.Flags&RST == 0 {
		h.AfterReset++
	}
	h.id = p.ID
	h.reset = h.reset || p.Flags&RST != 0
	h.ended = h.ended || p.Flags&FIN != 0
	if p.Flags&(RST|FIN) != 0 {
		return
	}
	if h.Plain++; h.Plain == 1 {
		h.ttl = [2]uint8{p.TTL, p.TTL}
	}
	h.ttl = [2]uint8{min(h.ttl[0], p.TTL), max(h.ttl[1], p.TTL)}
	h.Window = p.Window
}

// told is the half as it stands, with nothing that will still change.
func (h *half) told() Half {
	t := h.Half
	if h.Base != nil {
		next := h.next
		t.Next = &next
	}
	if h.anyAck {
		acked := h.acked
		t.Acked = &acked
	}
	if h.Plain > 0 {
		least, most := h.ttl[0], h.ttl[1]
		t.TTLMin, t.TTLMax = &least, &most
	}
	if h.rtt > 0 {
		rtt := h.rtt
		t.RTT = &rtt
	}
	return t
}
