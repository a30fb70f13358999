package middlebox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// decode reads the body of a conntrack message. ok is false for an entry of
// another protocol than TCP.
func decode(body []byte) (e Entry, ok bool, err error) {
	if len(body) < nfgenmsgLen {
		return e, false, fmt.Errorf("decode conntrack message %q: shorter than its header", body)
	}
	ad, err := netlink.NewAttributeDecoder(body[nfgenmsgLen:])
	if err != nil {
		return e, false, fmt.Errorf("decode conntrack message %q: %w", body, err)
	}
	ad.ByteOrder = binary.BigEndian
	orig, reply := tuple{}, tuple{}
	for ad.Next() {
		switch ad.Type() {
		case ctaTupleOrig:
			ad.Nested(orig.decode)
		case ctaTupleReply:
			ad.Nested(reply.decode)
		case ctaStatus:
			e.Status = Status(ad.Uint32())
		case ctaProtoinfo:
			ad.Nested(e.decodeProtoinfo)
		case ctaTimeout:
			e.Timeout = time.Duration(ad.Uint32()) * time.Second
		case ctaCountersOrig:
			ad.Nested(counters(&e.OrigPackets, &e.OrigBytes))
		case ctaCountersReply:
			ad.Nested(counters(&e.ReplyPackets, &e.ReplyBytes))
		case ctaID:
			e.ID = ad.Uint32()
		case ctaZone:
			e.Zone = ad.Uint16()
		case ctaTimestamp:
			ad.Nested(e.decodeTimestamp)
		}
	}
	if err = ad.Err(); err == nil && orig.proto == unix.IPPROTO_TCP {
		if e.Orig, err = orig.flow(); err == nil {
			e.Reply, err = reply.flow()
		}
	}
	if err != nil {
		return Entry{}, false, fmt.Errorf("decode conntrack message %q: %w", body, err)
	}
	return e, orig.proto == unix.IPPROTO_TCP, nil
}

// tuple is one direction of an entry.
type tuple struct {
	src, dst netip.Addr
	sport    uint16
	dport    uint16
	proto    uint8
}

func (t *tuple) decode(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case ctaTupleIP:
			ad.Nested(t.decodeIP)
		case ctaTupleProto:
			ad.Nested(t.decodeProto)
		}
	}
	return nil
}

func (t *tuple) decodeIP(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		addr, ok := netip.AddrFromSlice(ad.Bytes())
		switch ad.Type() {
		case ctaIPv4Src, ctaIPv6Src:
			t.src = addr
		case ctaIPv4Dst, ctaIPv6Dst:
			t.dst = addr
		default:
			ok = true
		}
		if !ok {
			return fmt.Errorf("address %q has neither 4 nor 16 bytes", ad.Bytes())
		}
	}
	return nil
}

func (t *tuple) decodeProto(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case ctaProtoNum:
			t.proto = ad.Uint8()
		case ctaProtoSrcPort:
			t.sport = ad.Uint16()
		case ctaProtoDstPort:
			t.dport = ad.Uint16()
		}
	}
	return nil
}

// flow checks what Delete relies on: an entry without its tuple would be a
// request to delete all entries.
func (t *tuple) flow() (flow.Flow, error) {
	if !t.src.IsValid() || t.src.BitLen() != t.dst.BitLen() {
		return flow.Flow{}, errors.New("no two addresses of one family")
	}
	return flow.New(netip.AddrPortFrom(t.src, t.sport), netip.AddrPortFrom(t.dst, t.dport)), nil
}

func (e *Entry) decodeProtoinfo(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		if ad.Type() != ctaProtoinfoTCP {
			continue
		}
		ad.Nested(func(tcp *netlink.AttributeDecoder) error {
			for tcp.Next() {
				if tcp.Type() != ctaProtoinfoTCPState {
					continue
				}
				if s := tcp.Uint8(); int(s) < len(states) {
					e.State = states[s]
				} else {
					e.State = fmt.Sprintf("STATE_%d", s)
				}
			}
			return nil
		})
	}
	return nil
}

func counters(packets, bytes **uint64) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error {
		for ad.Next() {
			switch ad.Type() {
			case ctaCountersPackets:
				*packets = new(ad.Uint64())
			case ctaCountersBytes:
				*bytes = new(ad.Uint64())
			}
		}
		return nil
	}
}

func (e *Entry) decodeTimestamp(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case ctaTimestampStart:
			e.Start = new(time.Unix(0, int64(ad.Uint64())).UTC())
		case ctaTimestampStop:
			e.Stop = new(time.Unix(0, int64(ad.Uint64())).UTC())
		}
	}
	return nil
}
