package sockstate

import (
	"encoding/binary"
	"fmt"

	"halfopen/flow"
)

// Codes of inet_diag bytecode (include/uapi/linux/inet_diag.h). S_EQ and D_EQ
// are not used: kernels before 4.16 don't know them.
const (
	bcJump    = 1 // INET_DIAG_BC_JMP
	bcSrcGE   = 2 // INET_DIAG_BC_S_GE
	bcSrcLE   = 3 // INET_DIAG_BC_S_LE
	bcDstGE   = 4 // INET_DIAG_BC_D_GE
	bcDstLE   = 5 // INET_DIAG_BC_D_LE
	opLen     = 4 // struct inet_diag_bc_op: code, yes, no
	compare   = 2 * opLen
	maxFilter = 1<<16 - 1 - opLen // jumps are 16 bits wide
)

// anyPort returns the bytecode of "one end is on one of these ports". A
// comparison is two ops, of which the second holds the port. Running off the end
// accepts a socket; a jump to one op beyond the end rejects it. The kernel runs it
// for every socket of the namespace: most ports are ephemeral, above those that
// are watched, and refused by LE, which therefore comes first.
func anyPort(ports flow.Ports) ([]byte, error) {
	const alternative = 2*compare + opLen // LE, GE, jump to the end
	total := 2*len(ports)*alternative - opLen
	if total > maxFilter {
		return nil, fmt.Errorf("filter sockets by port: %d ports are too many, at most %d", len(ports), (maxFilter+opLen)/(2*alternative))
	}
	var code []byte
	put := func(op, yes uint8, no int) {
		code = append(code, op, yes, 0, 0)
		binary.NativeEndian.PutUint16(code[len(code)-2:], uint16(no))
	}
	for _, p := range ports {
		for _, op := range [][2]uint8{{bcSrcLE, bcSrcGE}, {bcDstLE, bcDstGE}} {
			next := len(code) + alternative
			if next > total {
				next = total + opLen // the last one: reject
			}
			put(op[0], compare, next-len(code))
			put(0, 0, int(p))
			put(op[1], compare, next-len(code))
			put(0, 0, int(p))
			if len(code) < total {
				put(bcJump, opLen, total-len(code))
			}
		}
	}
	return code, nil
}
