package fault

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// match is a condition in the syntax of nft and as the kernel takes it.
type match struct {
	text  string
	exprs []expr.Any
}

// Bits of the TCP header's flags, RFC 9293, section 3.1.
const (
	fin = 0x01
	syn = 0x02
	rst = 0x04
	psh = 0x08
	ack = 0x10
)

// forgotten matches a packet that belongs to no tracked connection and does not
// begin one either. Conntrack takes the middle of a connection for a new one
// unless net.netfilter.nf_conntrack_tcp_loose is 0; then it is invalid.
var forgotten = join(
	tracked("new,invalid", expr.CtStateBitNEW|expr.CtStateBitINVALID),
	flags("tcp flags & (fin | syn | rst | ack) != syn", fin|syn|rst|ack, expr.CmpOpNeq, syn),
)

func tracked(states string, bits uint32) match {
	return match{text: "ct state " + states, exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}}
}

var (
	finOrReset = flags("tcp flags & (fin | rst) != 0x0", fin|rst, expr.CmpOpNeq, 0)
	// pushed is data: Linux sets PSH on the last segment of each write, and no
	// segment of a handshake has it.
	pushed = flags("tcp flags & psh == psh", psh, expr.CmpOpEq, psh)
	// acknowledging is neither of a handshake nor of a connection's end.
	acknowledging = flags("tcp flags & (fin | syn | rst | ack) == ack", fin|syn|rst|ack, expr.CmpOpEq, ack)
)

func flags(text string, mask byte, op expr.CmpOp, value byte) match {
	return match{text: text, exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
		&expr.Cmp{Op: op, Register: 1, Data: []byte{value}},
	}}
}

// join is a match of all, the empty ones left out.
func join(all ...match) (m match) {
	for _, one := range all {
		if one.text != "" && m.text != "" {
			m.text += " "
		}
		m.text += one.text
		m.exprs = append(m.exprs, one.exprs...)
	}
	return m
}

func tcp() match {
	return match{exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
	}}
}

func anyTCP() match { return join(match{text: "meta l4proto tcp"}, tcp()) }

// bytesAt compares part of a header.
func bytesAt(base expr.PayloadBase, offset uint32, want []byte) match {
	return match{exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: uint32(len(want))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want},
	}}
}

// portIs matches the source or the destination port, RFC 9293, section 3.1.
func portIs(key string, port uint16) match {
	offset := uint32(0)
	if key == "dport" {
		offset = 2
	}
	return join(match{text: fmt.Sprintf("tcp %s %d", key, port)}, bytesAt(expr.PayloadBaseTransportHeader, offset, binaryutil.BigEndian.PutUint16(port)))
}

// toPort matches packets to a port, or from it.
func toPort(port uint16, d Direction) match {
	key := "dport"
	if d == From {
		key = "sport"
	}
	return join(tcp(), portIs(key, port))
}

// packetsOf matches what the local end of a flow sends to the other.
func packetsOf(f flow.Flow, netdev bool) match {
	src, dst := f.Local.Addr(), f.Remote.Addr()
	name, at := "ip", [2]uint32{12, 16} // of source and destination address, RFC 791
	if src.Is6() {
		name, at = "ip6", [2]uint32{8, 24} // RFC 8200
	}
	return join(
		family(src, netdev),
		match{text: fmt.Sprintf("%s saddr %s", name, src)}, bytesAt(expr.PayloadBaseNetworkHeader, at[0], src.AsSlice()),
		match{text: fmt.Sprintf("%s daddr %s", name, dst)}, bytesAt(expr.PayloadBaseNetworkHeader, at[1], dst.AsSlice()),
		tcp(),
		portIs("sport", f.Local.Port()), portIs("dport", f.Remote.Port()),
	)
}

// family is what nft makes of "ip saddr": a rule of an inet or netdev table sees
// both families.
func family(a netip.Addr, netdev bool) match {
	key, is4, is6 := expr.MetaKeyNFPROTO, []byte{unix.NFPROTO_IPV4}, []byte{unix.NFPROTO_IPV6}
	if netdev {
		key, is4, is6 = expr.MetaKeyPROTOCOL, binaryutil.BigEndian.PutUint16(unix.ETH_P_IP), binaryutil.BigEndian.PutUint16(unix.ETH_P_IPV6)
	}
	want := is4
	if a.Is6() {
		want = is6
	}
	return match{exprs: []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want},
	}}
}

// through matches the interface that a packet leaves or came by.
func through(name string, out bool) match {
	key, text := expr.MetaKeyIIFNAME, "iifname"
	if out {
		key, text = expr.MetaKeyOIFNAME, "oifname"
	}
	want := make([]byte, unix.IFNAMSIZ)
	copy(want, name)
	return match{text: fmt.Sprintf("%s %q", text, name), exprs: []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: want},
	}}
}

// share matches a packet with the given probability.
func share(p float64) match {
	n := uint32(p*lossSteps + 0.5)
	return match{text: fmt.Sprintf("numgen random mod %d < %d", lossSteps, n), exprs: []expr.Any{
		&expr.Numgen{Register: 1, Modulus: lossSteps, Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint32(n)},
	}}
}
