package verdict

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"halfopen/capture"
	"halfopen/sockstate"
)

// How sure it is who sent a packet.
const (
	certain   = "certain"
	likely    = "likely"
	cantTell  = "who sent it can't be told"
	enoughTTL = 3 // packets whose TTL is compared with
)

// endsOf tells who ended a connection: of its first FIN or RST, and of what the
// other end sent and this one never got.
func (j *judge) endsOf(v *view, others []*view) (list []Finding) {
	for _, s := range v.signs {
		if isEnd(s.Sign) {
			list = append(list, j.sender(v, s, others))
			break
		}
	}
	all := append([]*view{v}, others...)
	for _, from := range all {
		for _, to := range all {
			if s := j.neverCame(from, to, all); s != nil {
				list = append(list, Finding{Rule: lostEnd, Records: []uint64{s.n, to.n}, Text: fmt.Sprintf(
					"%s: %s left %s at %s, %s, and never arrived at %s", v.Flow, s.Flags, from.of(), stampOf(s.Sign), behind(s.Sign), to.of())})
			}
		}
	}
	return list
}

// neverCame is the first FIN or RST that left one end of the connection and never
// came to the other.
func (j *judge) neverCame(from, to *view, all []*view) *seenSign {
	for i, s := range from.signs {
		d := s.Direction
		if isEnd(s.Sign) && s.Way == capture.Out && !comesIn(all, from.at, d) && to.Of(d).Way == capture.In && !leaves(all, to.at, d) &&
			j.capturedAt(to.at, s.Mono+matchWithin) && match(to, from, s) == nil {
			return &from.signs[i]
		}
	}
	return nil
}

func isEnd(s capture.Sign) bool {
	return strings.Contains(s.Flags, "FIN") || strings.Contains(s.Flags, "RST")
}

// stampOf is the kernel's own time of a packet.
func stampOf(s capture.Sign) string { return s.Time.UTC().Format("15:04:05.000000 UTC") }

// behind says after which byte of its direction a packet came.
func behind(s capture.Sign) string {
	if s.Seq == nil {
		return "after which byte is not known"
	}
	return fmt.Sprintf("after byte %d of its direction", max(*s.Seq-1, 0))
}

// sender says who sent a FIN or RST that passed a view.
func (j *judge) sender(v *view, s seenSign, others []*view) Finding {
	rule := whoClosed
	if strings.Contains(s.Flags, "RST") {
		rule = whoReset
	}
	records := []uint64{s.n}
	who, sure, why := j.traced(v, s, others, &records)
	clues, box, peer := j.clues(v, s.Sign)
	switch {
	case who != "": // the clues only add to it
	case box >= 2:
		who, sure = "a box between", likely
	case peer && box == 0:
		who, sure = j.endOf(v, s.Direction), likely
		why = append(why, "nothing tells it from that host's other packets, as far as one end can see")
	}
	says := cantTell
	if who != "" {
		says = fmt.Sprintf("sent by %s (%s)", who, sure)
	}
	text := fmt.Sprintf("%s: %s %s the watched port passed %s at %s, %s: %s", v.Flow, s.Flags, s.Direction, v.of(), stampOf(s.Sign), behind(s.Sign), says)
	if why = append(why, clues...); len(why) > 0 {
		text += ": " + strings.Join(why, "; ")
	}
	if who == "" {
		text += "; capture at the other end too, to be sure"
	}
	slices.Sort(records)
	return Finding{Rule: rule, Text: text, Records: slices.Compact(records)}
}

// endOf names the host that packets of a direction come from.
func (j *judge) endOf(v *view, d capture.Direction) string {
	if d == capture.Toward {
		return "the client's host " + v.Local.Addr().String()
	}
	return "the peer's host " + v.Remote.Addr().String()
}

// traced follows a packet from place to place. It is empty where the captures do
// not reach to where it was made.
func (j *judge) traced(v *view, s seenSign, others []*view, records *[]uint64) (who, sure string, why []string) {
	d := s.Direction
	at := s.Way
	if at == "" {
		return "this host itself", certain, []string{"it passed loopback, on which there is no box"}
	}
	all := append([]*view{v}, others...)
	// The place nearest to the sender that it left without having come there.
	for _, o := range all {
		m := match(o, v, s)
		if m == nil || m.Way != capture.Out || j.passes(o, *m, all) || !j.capturedAt(o.at, m.Mono) {
			continue
		}
		*records = append(*records, m.n)
		if comesIn(all, o.at, d) || j.forwards(o, d) {
			return "a box between: " + o.at, j.surely(o.at), []string{"it left there by " + o.Interface + " and had come in by no interface, as the other packets of that direction do"}
		}
		return j.endOf(v, d) + ", that is " + o.at, j.surely(o.at), []string{"it left " + o.of() + ", where the packets of that direction begin" + j.livedOn(o, *m)}
	}
	// The sender's own host was captured, and did not send it.
	for _, o := range others {
		if o.at == v.at || o.Of(d).Way != capture.Out || comesIn(all, o.at, d) || !j.capturedAt(o.at, s.Mono) {
			continue
		}
		*records = append(*records, o.n)
		return "a box between", j.surely(o.at), []string{fmt.Sprintf("%s, %s, was captured too and sent none", j.endOf(v, d), o.at)}
	}
	return "", "", nil
}

// comesIn reports whether packets of a direction come to a place from elsewhere.
func comesIn(all []*view, at string, d capture.Direction) bool {
	return slices.ContainsFunc(all, func(o *view) bool { return o.at == at && o.Of(d).Way == capture.In })
}

// forwards reports whether a place is on the way to the host that packets of a
// direction come from, by the other connections of that host.
func (j *judge) forwards(v *view, d capture.Direction) bool {
	return slices.ContainsFunc(j.all, func(o *view) bool {
		return o.at == v.at && o.Of(d).Way == capture.In && origin(o, d) == origin(v, d)
	})
}

// origin is the address that packets of a direction come from.
func origin(v *view, d capture.Direction) netip.Addr {
	if d == capture.Toward {
		return v.Local.Addr()
	}
	return v.Remote.Addr()
}

// leaves reports whether a place sends packets of a direction on, or is where they
// begin.
func leaves(all []*view, at string, d capture.Direction) bool {
	return slices.ContainsFunc(all, func(o *view) bool { return o.at == at && o.Of(d).Way == capture.Out })
}

// passes reports whether a packet that left a place had come to it before.
func (j *judge) passes(o *view, s seenSign, all []*view) bool {
	return slices.ContainsFunc(all, func(in *view) bool {
		m := match(in, o, s)
		return in.at == o.at && m != nil && m.Way == capture.In
	})
}

// matchWithin is how far apart the times of one packet at two places may be: what a
// path takes, and what the clocks of two hosts differ.
const matchWithin = 2 * time.Second

// match is the packet of view b among those of view a: the same flags, and the same
// number as sent where both know it.
func match(a, b *view, s seenSign) *seenSign {
	for i := range a.signs {
		m := &a.signs[i]
		if m.Direction != s.Direction || strings.Contains(m.Flags, "RST") != strings.Contains(s.Flags, "RST") || strings.Contains(m.Flags, "FIN") != strings.Contains(s.Flags, "FIN") ||
			(m.Mono-s.Mono).Abs() > matchWithin {
			continue
		}
		x, y := a.Of(s.Direction).Base, b.Of(s.Direction).Base
		if x == nil || y == nil || m.Seq == nil || s.Seq == nil || *x+uint32(*m.Seq) == *y+uint32(*s.Seq) {
			return m
		}
	}
	return nil
}

// capturedAt reports whether the packets of a place were captured at a time, and
// what they said was recorded: a recorder that was killed had some of it in hand.
func (j *judge) capturedAt(place string, at time.Duration) bool {
	if j.end == nil && j.last.Mono < at+matchWithin {
		return false
	}
	on := false
	for _, k := range j.captures {
		if k.at <= at && (k.body.At == place || slices.Contains(k.body.Also, place)) {
			on = !k.body.Ended
		}
	}
	return on
}

// surely is certain unless the place's capture has lost packets.
func (j *judge) surely(place string) string {
	for _, k := range j.captures {
		if (k.body.At == place || slices.Contains(k.body.Also, place)) && k.body.Dropped+k.body.Untold > 0 {
			return likely + ": the capture there lost packets"
		}
	}
	return certain
}

// livedOn says so where the socket of a host that sent a RST lives on: then not its
// TCP sent it, but a rule or a program on that host.
func (j *judge) livedOn(o *view, s seenSign) string {
	if !strings.Contains(s.Flags, "RST") {
		return ""
	}
	list := j.conns
	own := o.Flow
	if s.Direction == capture.From {
		list, own = j.far, o.Flow.Reverse()
	}
	for _, c := range list {
		if c.flow != own {
			continue
		}
		if last := c.lastSeen(); last.at > s.Mono+j.th.Fresh && last.sock.State == sockstate.Established {
			return fmt.Sprintf(", and yet its socket was still %s %s later: a rule or a program on that host sent it, not its TCP", last.sock.State, round(last.at-s.Mono))
		}
	}
	return ""
}

// clues weigh what a RST or FIN says of itself against the other packets of its
// direction, as one place saw them. Box counts what speaks for a box between; peer
// says that it looks like the peer's own.
func (j *judge) clues(v *view, s capture.Sign) (text []string, box int, peer bool) {
	h, other := v.Of(s.Direction), v.Of(s.Direction.Other())
	say := func(weight int, format string, args ...any) {
		text, box = append(text, fmt.Sprintf(format, args...)), box+weight
	}
	if s.Way != capture.In {
		return nil, 0, false // it comes from here, the rest is no clue
	}
	if h.Plain >= enoughTTL && h.TTLMin != nil && h.TTLMax != nil {
		switch least, most := *h.TTLMin, *h.TTLMax; {
		case s.TTL >= least && s.TTL <= most:
			say(0, "TTL %d, as that direction's other packets", s.TTL)
			peer = true
		case hops(s.TTL) != hops(least) && hops(s.TTL) != hops(most):
			say(2, "TTL %d, so %s away; that direction's other packets have %d, %s", s.TTL, count(hops(s.TTL), "hop"), least, count(hops(least), "hop"))
		default:
			say(1, "TTL %d, that direction's other packets have %d: as far away by hops, but not as that host sends", s.TTL, least)
		}
	}
	if !strings.Contains(s.Flags, "RST") {
		return text, box, peer
	}
	if s.Seq != nil && s.Expected != nil && *s.Seq != *s.Expected && (s.Acked == nil || *s.Seq != *s.Acked) {
		say(1, "its number is %d where %d came next", *s.Seq, *s.Expected)
		peer = false
	}
	if s.Ack != nil && s.After != nil && other.RTT != nil && other.Next != nil && *s.Ack == *other.Next && *s.After*2 < *other.RTT {
		say(2, "it acknowledges what had passed here %s before, and an answer takes %s at least", fine(*s.After), fine(*other.RTT))
	}
	if h.RTT != nil && other.RTT != nil {
		whole := *h.RTT + *other.RTT
		for _, o := range v.signs {
			if apart := (o.Mono - s.Mono).Abs(); o.Direction != s.Direction && strings.Contains(o.Flags, "RST") && apart*2 < whole {
				say(2, "resets went both ways within %s, a round trip takes %s: neither is the other's consequence", fine(apart), fine(whole))
				break
			}
		}
		if h.AfterReset > 0 && h.LastMono-s.Mono > whole+j.th.Fresh {
			say(2, "the same direction went on: %s came behind it, the last %s later", count(h.AfterReset, "packet"), round(h.LastMono-s.Mono))
			peer = false
		}
	}
	if s.ID != nil && s.Before != nil {
		say(0, "window %d, IP id %d behind %d", s.Window, *s.ID, *s.Before)
	}
	return text, box, peer
}

// hops is how many routers a packet has passed, if its TTL began as systems set it:
// at 64, 128 or 255.
func hops(ttl uint8) int {
	for _, start := range []int{64, 128} {
		if int(ttl) <= start {
			return start - int(ttl)
		}
	}
	return 255 - int(ttl)
}

// fine spells a short duration.
func fine(d time.Duration) string { return d.Round(time.Microsecond).String() }
