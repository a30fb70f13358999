package middlebox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// Verdicts, include/uapi/linux/netfilter.h and nf_tables.h.
const (
	nfDrop   = 0
	nfAccept = 1
	nftJump  = -3
	nftGoto  = -4
)

// expressions reads the expressions of one rule, which work like a small
// machine: one loads a value into a register, the next compares it.
type expressions struct {
	loaded string       // what the register holds, in nft's words
	ports  int          // how many ports it holds, from the front
	proto  bool         // it holds the protocol
	addr   int          // it holds an address of so many bytes, or the front of one
	bits   int          // and so many bits of it
	sides  uint8        // 1: it asks for a source port, 2: for a destination port
	regs   map[int]part // what each register of 32 bits begins with
	words  []string
}

func (x *expressions) say(format string, args ...any) {
	x.words = append(x.words, fmt.Sprintf(format, args...))
}

// decode reads one expression: its name comes first, then its data.
func (x *expressions) decode(ad *netlink.AttributeDecoder, r *Rule) error {
	var name string
	var data []byte
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_EXPR_NAME:
			name = ad.String()
		case unix.NFTA_EXPR_DATA:
			data = ad.Bytes()
		}
	}
	if err := ad.Err(); err != nil {
		return err
	}
	a, err := values(data)
	if err != nil {
		return err
	}
	switch name {
	case "meta":
		x.hold(a.num(unix.NFTA_META_DREG), x.meta(a.num(unix.NFTA_META_KEY)))
	case "payload":
		x.payload(r.Family, a.num(unix.NFTA_PAYLOAD_BASE), a.num(unix.NFTA_PAYLOAD_OFFSET), a.num(unix.NFTA_PAYLOAD_LEN))
		x.hold(a.num(unix.NFTA_PAYLOAD_DREG), int(a.num(unix.NFTA_PAYLOAD_LEN)))
	case "cmp":
		x.compare(a.num(unix.NFTA_CMP_OP) == unix.NFT_CMP_EQ, a.data(unix.NFTA_CMP_DATA), r)
	case "range":
		r.More = r.More || x.ports > 0
		x.say("%s in 0x%x-0x%x", x.loaded, a.data(unix.NFTA_RANGE_FROM_DATA), a.data(unix.NFTA_RANGE_TO_DATA))
	case "lookup":
		l := x.lookUp(a)
		r.lookups = append(r.lookups, l)
		if l.verdict {
			r.Jump = anyChain + l.set
		}
		in := "in"
		if l.not {
			in = "not in"
		}
		x.say("%s %s @%s", x.loaded, in, l.set)
	case "bitwise", "byteorder":
		x.mask(name, a.data(unix.NFTA_BITWISE_MASK))
		x.hold(a.num(unix.NFTA_BITWISE_DREG), int(a.num(unix.NFTA_BITWISE_LEN)))
	case "ct":
		x.load("ct " + words(a.num(unix.NFTA_CT_KEY), "state", "direction", "status", "mark"))
		x.hold(a.num(unix.NFTA_CT_DREG), 4)
	case "counter":
		r.Packets, r.Bytes = new(a.long(unix.NFTA_COUNTER_PACKETS)), new(a.long(unix.NFTA_COUNTER_BYTES))
		x.say("counter")
	case "immediate":
		x.verdict(a[unix.NFTA_IMMEDIATE_DATA], r)
	case "reject":
		r.Drops = true
		x.say("reject")
	case "match":
		x.match(a.text(unix.NFTA_MATCH_NAME), a[unix.NFTA_MATCH_INFO], r)
	case "target":
		target := a.text(unix.NFTA_TARGET_NAME)
		r.Drops = r.Drops || target == "DROP" || target == "REJECT"
		x.say("target %s", target)
	default:
		x.regs = nil
		x.say("%s", name)
	}
	return nil
}

// side is where a rule asks for the ports that it may match.
func (x *expressions) side(r Rule) string {
	if r.More || len(r.Ports) == 0 || x.sides < 1 || x.sides > 2 {
		return ""
	}
	return []string{"sport", "dport"}[x.sides-1]
}

func (x *expressions) load(what string) { x.loaded, x.ports, x.proto, x.addr = what, 0, false, 0 }

func (x *expressions) loadAddr(what string, size, length uint32) {
	x.load(what)
	x.addr, x.bits = int(size), int(8*length)
}

// mask leaves a part of what is loaded: of an address a prefix is understood.
func (x *expressions) mask(name string, mask []byte) {
	if bits, ok := maskBits(mask); ok && name == "bitwise" && x.addr > 0 && bits <= x.bits {
		x.bits = bits
		return
	}
	x.load(x.loaded + " & …")
}

// meta knows some keys of enum nft_meta_keys, and how many bytes they have.
func (x *expressions) meta(key uint32) (size int) {
	switch key {
	case unix.NFT_META_L4PROTO:
		x.load("meta l4proto")
		x.proto = true
		return 1
	case unix.NFT_META_NFPROTO:
		x.load("meta nfproto")
		return 1
	case unix.NFT_META_IIFNAME:
		x.load("iifname")
		return unix.IFNAMSIZ
	case unix.NFT_META_OIFNAME:
		x.load("oifname")
		return unix.IFNAMSIZ
	case unix.NFT_META_MARK:
		x.load("meta mark")
	default:
		x.load(fmt.Sprintf("meta key %d", key))
	}
	return 4
}

// payload knows the ports (RFC 9293, 3.1), the addresses and the protocol.
func (x *expressions) payload(family string, base, offset, length uint32) {
	ip := family == "ip" || family == "inet"
	switch {
	case base == unix.NFT_PAYLOAD_TRANSPORT_HEADER && offset == 0 && (length == 2 || length == 4):
		x.load("tcp sport")
		x.ports = int(length / 2)
	case base == unix.NFT_PAYLOAD_TRANSPORT_HEADER && offset == 2 && length == 2:
		x.load("tcp dport")
		x.ports = 1
	case base == unix.NFT_PAYLOAD_NETWORK_HEADER && offset == 9 && length == 1 && ip:
		x.load("ip protocol")
		x.proto = true
	case base == unix.NFT_PAYLOAD_NETWORK_HEADER && (offset == 12 || offset == 16) && length <= 4 && ip:
		x.loadAddr([]string{"ip saddr", "ip daddr"}[(offset-12)/4], 4, length)
	case base == unix.NFT_PAYLOAD_NETWORK_HEADER && (offset == 8 || offset == 24) && length <= 16 && (family == "ip6" || length > 4):
		x.loadAddr([]string{"ip6 saddr", "ip6 daddr"}[(offset-8)/16], 16, length)
	default:
		x.load(fmt.Sprintf("@%s,%d,%d", words(base, "ll", "nh", "th"), offset*8, length*8))
	}
}

func (x *expressions) compare(equal bool, value []byte, r *Rule) {
	is := " "
	if !equal {
		is = " != "
		r.More = r.More || x.ports > 0
	}
	switch {
	case x.ports > 0 && len(value) == 2*x.ports:
		var ports []string
		for i := range x.ports {
			p := binary.BigEndian.Uint16(value[2*i:])
			ports = append(ports, strconv.Itoa(int(p)))
			if equal {
				r.Ports = flow.NewPorts(append(r.Ports, p)...)
				if x.loaded == "tcp dport" {
					x.sides |= 2
				} else { // the source comes first, where both are loaded
					x.sides |= 1 << i
				}
			}
		}
		x.say("%s%s%s", x.loaded, is, strings.Join(ports, " dport "))
	case x.proto && len(value) == 1:
		if equal {
			r.Protocol = protocol(value[0])
		}
		x.say("%s%s%s", x.loaded, is, protocol(value[0]))
	case x.addr > 0 && len(value) <= x.addr && x.bits <= 8*len(value):
		addr, _ := netip.AddrFromSlice(append(slices.Clone(value), make([]byte, x.addr-len(value))...))
		if equal {
			r.Addrs = append(r.Addrs, netip.PrefixFrom(addr, x.bits))
		}
		x.say("%s%s%s", x.loaded, is, spell(addr, x.bits))
	case strings.HasSuffix(x.loaded, "ifname"):
		name, whole := strings.TrimRight(string(value), "\x00"), bytes.HasSuffix(value, []byte{0})
		if equal && whole { // else all whose names begin so
			r.links = append(r.links, name)
		}
		x.say("%s%s%q", x.loaded, is, name)
	default:
		x.say("%s%s0x%x", x.loaded, is, value)
	}
}

// verdict reads nested NFTA_DATA_VERDICT; an immediate without one loads a value.
func (x *expressions) verdict(data []byte, r *Rule) {
	nested, _ := values(data)
	if _, ok := nested[unix.NFTA_DATA_VERDICT]; !ok {
		x.load("value")
		return
	}
	v, _ := values(nested[unix.NFTA_DATA_VERDICT])
	switch code := int32(v.num(unix.NFTA_VERDICT_CODE)); code {
	case nfDrop:
		r.Drops = true
		x.say("drop")
	case nfAccept:
		x.say("accept")
	case nftJump, nftGoto:
		r.Jump = v.text(unix.NFTA_VERDICT_CHAIN)
		x.say("jump %s", r.Jump)
	default:
		x.say("verdict %d", code)
	}
}

// match is an extension of iptables in an nf_tables rule.
func (x *expressions) match(name string, info []byte, r *Rule) {
	ports, more := xtPorts(name, info)
	r.Ports, r.More = flow.NewPorts(append(r.Ports, ports...)...), r.More || more
	x.sides |= xtSides(name, info)
	if len(ports) > 0 {
		x.say("match %s %v", name, ports)
		return
	}
	x.say("match %s", name)
}

func words(n uint32, names ...string) string {
	if int(n) < len(names) {
		return names[n]
	}
	return strconv.Itoa(int(n))
}

func protocol(p uint8) string {
	switch p {
	case unix.IPPROTO_TCP:
		return "tcp"
	case unix.IPPROTO_UDP:
		return "udp"
	}
	return strconv.Itoa(int(p))
}

// attrs are the attributes of one expression by type; what is absent is empty.
type attrs map[uint16][]byte

func values(data []byte) (attrs, error) {
	ad, err := netlink.NewAttributeDecoder(data)
	if err != nil {
		return nil, err
	}
	a := attrs{}
	for ad.Next() {
		a[ad.Type()] = ad.Bytes()
	}
	return a, ad.Err()
}

func (a attrs) num(t uint16) uint32 {
	if b := a[t]; len(b) == 4 {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (a attrs) long(t uint16) uint64 {
	if b := a[t]; len(b) == 8 {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (a attrs) text(t uint16) string { return strings.TrimRight(string(a[t]), "\x00") }

// data is a value in its NFTA_DATA_VALUE.
func (a attrs) data(t uint16) []byte {
	nested, _ := values(a[t])
	return nested[unix.NFTA_DATA_VALUE]
}
