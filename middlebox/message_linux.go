package middlebox

import (
	"encoding/binary"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// Attributes and messages, include/uapi/linux/netfilter/nfnetlink_conntrack.h.
// Integers are in network byte order, but for the flags of a filter.
const (
	ipctnlMsgCtNew    = 0
	ipctnlMsgCtGet    = 1
	ipctnlMsgCtDelete = 2

	ctaTupleOrig     = 1
	ctaTupleReply    = 2
	ctaStatus        = 3
	ctaProtoinfo     = 4
	ctaTimeout       = 7 // seconds
	ctaCountersOrig  = 9
	ctaCountersReply = 10
	ctaID            = 12
	ctaZone          = 18
	ctaTimestamp     = 20
	ctaFilter        = 25 // Linux 5.8

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum     = 1
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3

	ctaProtoinfoTCP      = 1
	ctaProtoinfoTCPState = 1

	ctaCountersPackets = 1
	ctaCountersBytes   = 2

	ctaTimestampStart = 1 // nanoseconds since 1970
	ctaTimestampStop  = 2
)

// nfgenmsgLen is the header before the attributes: struct nfgenmsg,
// include/uapi/linux/netfilter/nfnetlink.h.
const nfgenmsgLen = 4

// messageType is the type of a conntrack message in a netlink header.
func messageType(msg uint16) netlink.HeaderType {
	return netlink.HeaderType(unix.NFNL_SUBSYS_CTNETLINK<<8 | msg)
}

// encode makes a message body for one address family.
func encode(family uint8, fill func(*netlink.AttributeEncoder)) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	fill(ae)
	attrs, err := ae.Encode()
	return append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attrs...), err
}

// family is the address family of a flow, which must have valid addresses.
func family(f flow.Flow) uint8 {
	if f.Local.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func encodeTuple(ae *netlink.AttributeEncoder, attr uint16, f flow.Flow) {
	src, dst := uint16(ctaIPv6Src), uint16(ctaIPv6Dst)
	if family(f) == unix.AF_INET {
		src, dst = ctaIPv4Src, ctaIPv4Dst
	}
	ae.Nested(attr, func(tuple *netlink.AttributeEncoder) error {
		tuple.Nested(ctaTupleIP, func(ip *netlink.AttributeEncoder) error {
			ip.Bytes(src, f.Local.Addr().AsSlice())
			ip.Bytes(dst, f.Remote.Addr().AsSlice())
			return nil
		})
		tuple.Nested(ctaTupleProto, func(proto *netlink.AttributeEncoder) error {
			proto.Uint8(ctaProtoNum, unix.IPPROTO_TCP)
			proto.Uint16(ctaProtoSrcPort, f.Local.Port())
			proto.Uint16(ctaProtoDstPort, f.Remote.Port())
			return nil
		})
		return nil
	})
}
