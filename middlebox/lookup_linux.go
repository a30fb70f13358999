package middlebox

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// part is a field of a packet that a register holds.
type part struct {
	is   int
	side int // 1: source, 2: destination
	size int // bytes
}

// What a part is.
const (
	unknownPart = iota
	addrPart
	portPart
	protoPart
)

// lookup is what a rule asks a set or a map: are these parts of the packet in it,
// or are they not.
type lookup struct {
	set     string
	parts   []part
	not     bool
	ports   bool // a port is among them
	verdict bool // the element tells what becomes of the packet
}

// word is a register's first among the 16 of 32 bits, enum nft_registers: 1 to 4 are
// four of them each.
func word(register uint32) int {
	if register < unix.NFT_REG32_00 {
		return 4 * int(register-unix.NFT_REG_1)
	}
	return int(register - unix.NFT_REG32_00)
}

// hold notes what was just loaded into a register.
func (x *expressions) hold(register uint32, size int) {
	p := part{size: max(size, 1)}
	switch side := strings.HasSuffix(x.loaded, "daddr") || strings.HasSuffix(x.loaded, "dport"); {
	case x.addr > 0 && x.bits == 8*x.addr && size == x.addr:
		p.is, p.side = addrPart, 1
		if side {
			p.side = 2
		}
	case x.ports == 1:
		p.is, p.side = portPart, 1
		if side {
			p.side = 2
		}
	case x.proto:
		p.is = protoPart
	}
	if x.regs == nil {
		x.regs = map[int]part{}
	}
	x.regs[word(register)] = p
}

// lookUp reads a lookup of what registers hold from one on; a set's keys tell how
// many of them it takes.
func (x *expressions) lookUp(a attrs) (l lookup) {
	l.set, l.not = a.text(unix.NFTA_LOOKUP_SET), a.num(unix.NFTA_LOOKUP_FLAGS)&unix.NFT_LOOKUP_F_INV != 0
	_, mapped := a[unix.NFTA_LOOKUP_DREG]
	l.verdict = mapped && a.num(unix.NFTA_LOOKUP_DREG) == unix.NFT_REG_VERDICT
	l.ports = x.ports > 0
	at := word(a.num(unix.NFTA_LOOKUP_SREG))
	for p, ok := x.regs[at]; ok; p, ok = x.regs[at] {
		l.parts = append(l.parts, p)
		l.ports = l.ports || p.is == portPart
		at += words32(p.size)
	}
	return l
}

// words32 is how many registers of 32 bits a part takes.
func words32(size int) int { return (size + 3) / 4 }

// asks reports whether a rule looks something up, and what it finds may have it drop
// packets of the ports.
func (r Rule) asks(ports flow.Ports) bool {
	r.Drops = r.Drops || slices.ContainsFunc(r.lookups, func(l lookup) bool { return l.verdict })
	return len(r.lookups) > 0 && r.Concerns(ports)
}

// with is the rule for the packets that one element of a set matches.
func (r Rule) with(l lookup, e element, ports flow.Ports) Rule {
	d := r
	d.Set, d.Each, d.More, d.Addrs = l.set, false, r.wide, slices.Clone(r.Addrs)
	d.Vague = len(r.lookups) > 1
	var words []string
	at := 0
	for _, p := range l.parts {
		from, to := e.slice(at, p.size)
		if from == nil {
			break
		}
		at += 4 * words32(p.size)
		words = append(words, d.narrow(p, from, to, ports))
	}
	d.Element = strings.Join(words, " . ")
	if at == 0 || at < len(e.key) {
		d.Vague, d.Element = true, fmt.Sprintf("0x%x", e.key)
	}
	in := "in"
	if l.not {
		in = "not in"
	}
	if l.verdict {
		d.Drops, d.Jump = e.drops, e.jump
		d.Element += " : " + e.verdict()
	}
	d.Text = fmt.Sprintf("%s, with %s %s @%s", r.Text, d.Element, in, l.set)
	return d
}

// narrow takes what an element says of one part, and spells it.
func (r *Rule) narrow(p part, from, to []byte, ports flow.Ports) string {
	single := slices.Equal(from, to)
	switch p.is {
	case addrPart:
		a, _ := netip.AddrFromSlice(from)
		b, _ := netip.AddrFromSlice(to)
		prefix, ok := network(a, b)
		if ok {
			r.Addrs = append(r.Addrs, prefix)
			return spell(a, prefix.Bits())
		}
		r.Vague = true
		return fmt.Sprintf("%s-%s", a, b)
	case portPart:
		a, b := binary.BigEndian.Uint16(from), binary.BigEndian.Uint16(to)
		r.Vague = r.Vague || len(r.Ports) > 0 || r.More // another port is asked for beside it
		r.Ports = flow.NewPorts(a)
		if in := slices.DeleteFunc(slices.Clone(ports), func(w uint16) bool { return w < a || w > b }); len(in) > 0 {
			r.Ports = in
		}
		r.Side = []string{"sport", "dport"}[p.side-1]
		if single {
			return fmt.Sprint(a)
		}
		return fmt.Sprintf("%d-%d", a, b)
	case protoPart:
		r.Vague = r.Vague || !single
		r.Protocol = protocol(from[0])
		return r.Protocol
	}
	r.Vague = true
	return fmt.Sprintf("0x%x", from)
}

// network is the prefix that begins and ends with these addresses, if one does.
func network(from, to netip.Addr) (netip.Prefix, bool) {
	for bits := from.BitLen(); bits >= 0; bits-- {
		p, err := from.Prefix(bits)
		if err != nil || p.Addr() != from {
			break
		}
		if last(p) == to {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// last is the last address of a network.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
