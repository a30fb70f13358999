package capture

import (
	"fmt"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// snapLength is the most of a packet that the kernel hands over: the longest
// headers are 14 bytes of Ethernet, 2 × 4 of VLAN, 60 of IP and 60 of TCP. The rest
// is cut where the payload begins.
const snapLength = 192

// maxPorts is as many as the filter's 4096 instructions have room for
// (BPF_MAXINSNS, include/uapi/linux/bpf_common.h).
const maxPorts = 500

// netOffset makes an offset count from the network header, whatever link header
// stands before it (SKF_NET_OFF, include/uapi/linux/filter.h).
const netOffset = 0xfff00000

// program passes TCP packets with one of the ports at either end; not fragments
// behind the first, which have no TCP header.
func program(ports flow.Ports) ([]unix.SockFilter, error) {
	if len(ports) == 0 || len(ports) > maxPorts {
		return nil, fmt.Errorf("capture of %d ports: want 1 to %d", len(ports), maxPorts)
	}
	pass, drop := bpf.RetConstant{Val: snapLength}, bpf.RetConstant{}
	either := func(load func(at uint32) bpf.Instruction) (list []bpf.Instruction) {
		for _, at := range []uint32{0, 2} { // of the TCP header: source, destination
			list = append(list, load(at))
			for _, p := range ports {
				list = append(list, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(p), SkipTrue: 1}, pass)
			}
		}
		return append(list, drop)
	}
	v4 := append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: netOffset + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x1fff, SkipTrue: 1},
		drop,
		bpf.LoadAbsolute{Off: netOffset + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoTCP, SkipTrue: 1},
		drop,
		bpf.LoadMemShift{Off: netOffset},
	}, either(func(at uint32) bpf.Instruction { return bpf.LoadIndirect{Off: netOffset + at, Size: 2} })...)
	v6 := append([]bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipTrue: 1},
		drop,
		bpf.LoadAbsolute{Off: netOffset + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protoTCP, SkipTrue: 1},
		drop,
	}, either(func(at uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: netOffset + ipv6Bytes + at, Size: 2} })...)
	all := append([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IP, SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(v4))},
	}, append(v4, v6...)...)
	raw, err := bpf.Assemble(all)
	if err != nil {
		return nil, fmt.Errorf("make packet filter: %w", err)
	}
	out := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		out[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return out, nil
}
