package middlebox

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// maxFiltered bounds the ports of a filter: with more the program would be longer
// than the kernel takes (BPF_MAXINSNS, 4096 instructions).
const maxFiltered = 100

// eventFilter is a program that lets pass the events of TCP connections any of
// whose four ports is watched, and whatever it does not understand: on a busy router
// the kernel then wakes nobody for the others. It knows how the kernel writes
// an event (ctnetlink_conntrack_event, net/netfilter/nf_conntrack_netlink.c): both
// tuples come first, their attributes in order. Nil: there are too many ports.
func eventFilter(ports flow.Ports) ([]bpf.RawInstruction, error) {
	if len(ports) > maxFiltered {
		return nil, nil
	}
	const (
		orig = unix.SizeofNlMsghdr + nfgenmsgLen // the tuple's header
		ip   = orig + unix.SizeofNlAttr          // the header of its addresses
		src  = ip + unix.SizeofNlAttr            // that of its first address
	)
	pass, drop := bpf.RetConstant{Val: 1<<32 - 1}, bpf.RetConstant{}
	// unless ends the program with r where what is loaded is not val.
	unless := func(val uint32, r bpf.Instruction) []bpf.Instruction {
		return []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpEqual, Val: val, SkipTrue: 1}, r}
	}
	typeAt := func(header uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: header + 2, Size: 2} }
	// tuples is what follows where addresses have so many bytes.
	tuples := func(size uint32) (list []bpf.Instruction) {
		proto := src + 2*(unix.SizeofNlAttr+size) + unix.SizeofNlAttr // the header of its number
		reply := proto + 3*(unix.SizeofNlAttr+4)
		list = append(list, bpf.LoadAbsolute{Off: proto + unix.SizeofNlAttr, Size: 1})
		list = append(list, unless(unix.IPPROTO_TCP, drop)...)
		list = append(list, typeAt(reply))
		list = append(list, unless(attrType(ctaTupleReply|unix.NLA_F_NESTED), pass)...)
		for _, tuple := range []uint32{0, reply - orig} {
			for _, port := range []uint32{1, 2} {
				list = append(list, bpf.LoadAbsolute{Off: tuple + proto + port*(unix.SizeofNlAttr+4) + unix.SizeofNlAttr, Size: 2})
				for _, p := range ports {
					list = append(list, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(p), SkipTrue: 1}, pass)
				}
			}
		}
		return append(list, drop)
	}
	v4, v6 := tuples(4), tuples(16)
	program := []bpf.Instruction{typeAt(orig)}
	program = append(program, unless(attrType(ctaTupleOrig|unix.NLA_F_NESTED), pass)...)
	program = append(program, typeAt(ip))
	program = append(program, unless(attrType(ctaTupleIP|unix.NLA_F_NESTED), pass)...)
	program = append(program, typeAt(src),
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: attrType(ctaIPv6Src), SkipTrue: 1},
		bpf.Jump{Skip: uint32(len(v6))})
	program = append(program, v6...)
	program = append(program, unless(attrType(ctaIPv4Src), pass)...)
	return bpf.Assemble(append(program, v4...))
}

// attrType is a type of an attribute, in the host's byte order, as the program loads
// it: in the network's.
func attrType(t uint16) uint32 {
	return uint32(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, t)))
}
