// Package capture takes the headers of TCP packets of chosen ports in a network
// namespace, and never their payload. It writes them as pcapng and tells, while
// they pass, what they say of each connection.
package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Packet is a TCP packet without its payload.
type Packet struct {
	Time      time.Time     // the kernel's stamp, wall clock
	Mono      time.Duration // the same moment, CLOCK_BOOTTIME
	Interface string
	// Way is how it passes the interface. On loopback there is no telling.
	Way Way
	// Segments is how many the payload makes on the wire: the kernel hands over
	// several as one before it cuts them, or after it has joined them (GSO, GRO).
	Segments int
	Length   int // bytes on the wire, link header and payload among them
	// Raw is what Header was decoded from, from the link header, or where Ethernet
	// is false from the IP header, to the end of the TCP header. It holds until the
	// next packet is read.
	Raw      []byte
	Ethernet bool
	Header
}

// Way is how a packet passes an interface.
type Way string

// The ways; the empty one is not known.
const (
	In  Way = "in"
	Out Way = "out"
)

// Header is what a packet says of itself.
type Header struct {
	Source, Destination netip.AddrPort
	TTL                 uint8  // IPv6: hop limit
	ID                  uint16 // identification
	V6                  bool   // IPv6, which has no ID
	Seq, Ack            uint32
	Flags               Flags
	Window              uint16 // as sent, not scaled
	Payload             int    // bytes
}

// Flags are those of a TCP header (RFC 9293, section 3.1).
type Flags uint8

// The flags.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// String names those that say where a connection stands, and ACK.
func (f Flags) String() (s string) {
	for _, n := range []struct {
		flag Flags
		name string
	}{{SYN, "SYN"}, {FIN, "FIN"}, {RST, "RST"}, {ACK, "ACK"}} {
		if f&n.flag != 0 {
			if s != "" {
				s += " "
			}
			s += n.name
		}
	}
	return s
}

// Of a packet that is none of TCP, or not the part of it that has the header.
var errNotTCP = errors.New("no TCP header")

const (
	protoTCP  = 6
	ipv6Bytes = 40
	tcpBytes  = 20
)

// Decode reads the headers of a packet that begins with its IP header and was
// length bytes long on the wire, of which data may hold only the first. It returns
// how many bytes the headers take. Extension headers of IPv6 it does not follow.
func Decode(data []byte, length int) (h Header, headers int, err error) {
	if len(data) == 0 {
		return h, 0, errNotTCP
	}
	var src, dst netip.Addr
	total := 0
	switch data[0] >> 4 {
	case 4:
		headers = int(data[0]&0xf) * 4
		if headers < 20 || len(data) < headers || data[9] != protoTCP || binary.BigEndian.Uint16(data[6:])&0x1fff != 0 {
			return h, 0, errNotTCP
		}
		h.ID, h.TTL, total = binary.BigEndian.Uint16(data[4:]), data[8], int(binary.BigEndian.Uint16(data[2:]))
		src, dst = netip.AddrFrom4([4]byte(data[12:16])), netip.AddrFrom4([4]byte(data[16:20]))
	case 6:
		headers = ipv6Bytes
		if len(data) < headers || data[6] != protoTCP {
			return h, 0, errNotTCP
		}
		h.V6, h.TTL = true, data[7]
		if total = int(binary.BigEndian.Uint16(data[4:])); total != 0 {
			total += ipv6Bytes
		}
		src, dst = netip.AddrFrom16([16]byte(data[8:24])).Unmap(), netip.AddrFrom16([16]byte(data[24:40])).Unmap()
	default:
		return h, 0, errNotTCP
	}
	if total == 0 { // more than 16 bits hold: BIG TCP (include/linux/ipv6.h)
		total = length
	}
	t := data[headers:]
	if len(t) < tcpBytes {
		return h, 0, fmt.Errorf("%w: %d bytes of it", errNotTCP, len(t))
	}
	offset := int(t[12]>>4) * 4
	if headers += offset; offset < tcpBytes || headers > len(data) || headers > total {
		return h, 0, fmt.Errorf("%w: it says that it is %d bytes long", errNotTCP, offset)
	}
	h.Source = netip.AddrPortFrom(src, binary.BigEndian.Uint16(t))
	h.Destination = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(t[2:]))
	h.Seq, h.Ack = binary.BigEndian.Uint32(t[4:]), binary.BigEndian.Uint32(t[8:])
	h.Flags, h.Window = Flags(t[13]), binary.BigEndian.Uint16(t[14:])
	h.Payload = total - headers
	return h, headers, nil
}
