package sockstate

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// include/uapi/linux/inet_diag.h
const (
	reqLen    = 56 // struct inet_diag_req_v2
	oldReqLen = 60 // struct inet_diag_req
	getTCP    = 18 // TCPDIAG_GETSOCK, the message that struct goes with
	msgLen    = 72 // struct inet_diag_msg
	idLen     = 48 // struct inet_diag_sockid: sport, dport, src[4], dst[4], if, cookie[2]

	attrReqBytecode = 1         // INET_DIAG_REQ_BYTECODE
	attrInfo        = 2         // INET_DIAG_INFO
	attrCong        = 4         // INET_DIAG_CONG
	attrSkMeminfo   = 7         // INET_DIAG_SKMEMINFO
	attrTypeMask    = 1<<14 - 1 // NLA_TYPE_MASK

	wantedAttrs = 1<<(attrInfo-1) | 1<<(attrCong-1) | 1<<(attrSkMeminfo-1)

	// allStates has a bit for each state from ESTABLISHED to NEW_SYN_RECV, not
	// for BOUND_INACTIVE (13, since 6.8), which is no connection.
	allStates = 1<<(NewSynRecv+1) - 1<<Established

	noCookie = ^uint64(0) // INET_DIAG_NOCOOKIE: any
)

// dumpRequest is a struct inet_diag_req and the filter. The old request asks for
// IPv4 and IPv6 at once; with the new one the kernel would have to walk its hash
// table, of a quarter of a million buckets and more, once for each.
func dumpRequest(filter []byte) []byte {
	b := make([]byte, oldReqLen, oldReqLen+4+len(filter))
	b[3] = wantedAttrs
	binary.NativeEndian.PutUint32(b[4+idLen:], allStates)
	b = binary.NativeEndian.AppendUint16(b, uint16(4+len(filter)))
	b = binary.NativeEndian.AppendUint16(b, attrReqBytecode)
	return append(b, filter...)
}

// putRequest writes a struct inet_diag_req_v2 for one socket into b[:reqLen].
func putRequest(b []byte, s *Socket) {
	clear(b[:reqLen])
	b[0], b[1], b[2] = family(s), unix.IPPROTO_TCP, wantedAttrs
	binary.NativeEndian.PutUint32(b[4:], allStates)
	id := b[8:reqLen]
	binary.BigEndian.PutUint16(id, s.Local.Port())
	binary.BigEndian.PutUint16(id[2:], s.Remote.Port())
	putAddr(id[4:20], s.Local.Addr())
	putAddr(id[20:36], s.Remote.Addr())
	binary.NativeEndian.PutUint32(id[36:], s.Interface)
	cookie := s.Cookie
	if cookie == 0 {
		cookie = noCookie
	}
	binary.NativeEndian.PutUint32(id[40:], uint32(cookie))
	binary.NativeEndian.PutUint32(id[44:], uint32(cookie>>32))
}

func putAddr(b []byte, a netip.Addr) {
	if a.Is4() {
		a4 := a.As4()
		copy(b, a4[:])
		return
	}
	a16 := a.As16()
	copy(b, a16[:])
}

// family is the address family to look a socket up by. The kernel finds an IPv6
// socket with mapped addresses by its IPv4 ones (inet_diag_find_one_icsk).
func family(s *Socket) uint8 {
	if s.Local.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// decode reads a struct inet_diag_msg and its attributes into s, whose Info, if
// it has one, is written anew in place.
func decode(b []byte, s *Socket) error {
	f, err := decodeFlow(b)
	if err != nil {
		return err
	}
	id, rest := b[4:4+idLen], b[4+idLen:]
	info := s.Info
	*s = Socket{
		Flow:        f,
		State:       State(b[1]),
		Timer:       Timer(b[2]),
		Retransmits: uint32(b[3]),
		Interface:   binary.NativeEndian.Uint32(id[36:]),
		Cookie:      uint64(binary.NativeEndian.Uint32(id[40:])) | uint64(binary.NativeEndian.Uint32(id[44:]))<<32,
		TimerIn:     time.Duration(binary.NativeEndian.Uint32(rest)) * time.Millisecond,
		RecvQ:       binary.NativeEndian.Uint32(rest[4:]),
		SendQ:       binary.NativeEndian.Uint32(rest[8:]),
		UID:         binary.NativeEndian.Uint32(rest[12:]),
		Inode:       binary.NativeEndian.Uint32(rest[16:]),
	}
	if s.State == NewSynRecv {
		s.State = SynRecv
	}
	if s.Timer == TimerOff {
		s.TimerIn = 0
	}
	return decodeAttrs(b[msgLen:], s, info)
}

// decodeFlow reads the flow of a struct inet_diag_msg alone.
func decodeFlow(b []byte) (flow.Flow, error) {
	if len(b) < msgLen {
		return flow.Flow{}, fmt.Errorf("read inet_diag_msg: %d bytes, want %d", len(b), msgLen)
	}
	id := b[4:]
	var src, dst netip.Addr
	switch b[0] {
	case unix.AF_INET:
		src, dst = netip.AddrFrom4([4]byte(id[4:])), netip.AddrFrom4([4]byte(id[20:]))
	case unix.AF_INET6:
		src, dst = netip.AddrFrom16([16]byte(id[4:])), netip.AddrFrom16([16]byte(id[20:]))
	default:
		return flow.Flow{}, fmt.Errorf("read inet_diag_msg: address family %d", b[0])
	}
	return flow.New(
		netip.AddrPortFrom(src, binary.BigEndian.Uint16(id)),
		netip.AddrPortFrom(dst, binary.BigEndian.Uint16(id[2:])),
	), nil
}

// decodeAttrs walks the netlink attributes (struct nlattr: length, type, data,
// padded to four bytes). info is what s.Info becomes if there is a tcp_info.
func decodeAttrs(b []byte, s *Socket, info *Info) error {
	var cong []byte
	var mem Opt[Mem]
	for len(b) >= 4 {
		n := int(binary.NativeEndian.Uint16(b))
		if n < 4 || n > len(b) {
			return fmt.Errorf("read inet_diag attributes: length %d of %d bytes left", n, len(b))
		}
		data := b[4:n]
		switch binary.NativeEndian.Uint16(b[2:]) & attrTypeMask {
		case attrInfo:
			if s.State == Listen {
				break // all but two of its fields say nothing of a listener
			}
			if info == nil {
				info = new(Info)
			}
			s.Info = info
			decodeInfo(data, info)
		case attrCong:
			cong = data
		case attrSkMeminfo:
			mem = decodeMem(data)
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	if s.Info != nil {
		s.Info.Mem = mem
		for len(cong) > 0 && cong[len(cong)-1] == 0 {
			cong = cong[:len(cong)-1]
		}
		if s.Info.Congestion != string(cong) {
			s.Info.Congestion = string(cong)
		}
	}
	return nil
}

// decodeMem reads the array of INET_DIAG_SKMEMINFO
// (include/uapi/linux/sock_diag.h, SK_MEMINFO_*).
func decodeMem(b []byte) Opt[Mem] {
	at := func(i int) uint32 { return binary.NativeEndian.Uint32(b[4*i:]) }
	if len(b) < 6*4 {
		return Opt[Mem]{}
	}
	m := Mem{Recv: at(0), RecvBuf: at(1), SendBuf: at(3), Send: at(5)}
	if len(b) >= 9*4 {
		m.Drops = at(8) // since 4.8
	}
	return Some(m)
}
