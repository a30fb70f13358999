package middlebox

import "encoding/binary"

// xtPorts reads the ports of an iptables match: struct xt_tcp (xt_tcpudp.h) and
// struct xt_multiport_v1 (xt_multiport.h), both in the host's byte order.
func xtPorts(name string, info []byte) (ports []uint16, more bool) {
	u16 := binary.NativeEndian.Uint16
	switch {
	case name == "tcp" && len(info) >= 12:
		inverse := info[11]
		for i, off := range []int{0, 4} { // source, destination
			from, to := u16(info[off:]), u16(info[off+2:])
			switch {
			case from == 0 && to == 0xffff:
			case from == to && inverse&(1<<i) == 0:
				ports = append(ports, from)
			default:
				more = true
			}
		}
	case name == "multiport" && len(info) >= 48:
		for i := range min(int(info[1]), 15) {
			ports = append(ports, u16(info[2+2*i:]))
			more = more || info[32+i] != 0 // a range, up to the next one
		}
		more = more || info[47] != 0
	}
	return ports, more
}

// xtSides is where an iptables match asks for ports: 1 source, 2 destination.
func xtSides(name string, info []byte) (sides uint8) {
	switch {
	case name == "tcp" && len(info) >= 12:
		for i, off := range []int{0, 4} {
			if binary.NativeEndian.Uint32(info[off:]) != binary.NativeEndian.Uint32([]byte{0, 0, 0xff, 0xff}) {
				sides |= 1 << i
			}
		}
	case name == "multiport" && len(info) >= 48:
		return [...]uint8{1, 2, 3}[min(int(info[0]), 2)] // enum xt_multiport_flags
	}
	return sides
}
