package fault

import (
	"errors"
	"fmt"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"

	"halfopen/middlebox"
)

// forgotten matches a packet that belongs to no tracked connection and does not
// begin one either. Conntrack takes the middle of a connection for a new one
// unless net.netfilter.nf_conntrack_tcp_loose is 0; then it is invalid.
var forgotten = match{
	text: "ct state new,invalid tcp flags & (fin | syn | rst | ack) != syn",
	exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{
			SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitNEW | expr.CtStateBitINVALID),
			Xor:  make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1}, // flags, RFC 9293
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{0x01 | 0x02 | 0x04 | 0x10}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{0x02}},
	},
}

// Forget opens the path that DropBoth closed, but for the connections of before,
// as a firewall does that has lost its state: their conntrack entries are deleted
// while nothing passes yet, and from then on what belongs to no tracked
// connection is dropped in silence. New connections pass.
//
// The rules stand in the input hook too: without its entry a packet of a
// translated connection is addressed to the router itself, which would answer
// RST. They come into force there before the first entry is deleted.
//
// The ct expressions switch connection tracking on in a namespace where nothing
// used it so far; it is off again after Undo.
func (f *Fault) Forget() (Step, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.undone || len(f.steps) != 1 || f.steps[0].Name != StepDrop {
		return Step{}, fmt.Errorf("forget flows: %w: it is the second step, after DropBoth", ErrOrder)
	}
	if f.cfg.Conntrack == nil {
		return Step{}, errors.New("forget flows: no conntrack is given")
	}
	step, rules, err := f.forget()
	if err != nil {
		return Step{}, fmt.Errorf("forget flows: %w", err)
	}
	return f.done(step, rules), nil
}

func (f *Fault) forget() (Step, []rule, error) {
	forward := bothWays(StepForget, f.table.forward.Name, f.cfg.Ports, forgotten)
	input := bothWays(StepForget, f.table.input.Name, f.cfg.Ports, forgotten)
	if _, err := f.table.transact(StepForget, replacement{f.table.input, input}); err != nil {
		return Step{}, nil, err
	}
	deleted, err := f.deleteEntries()
	if err != nil {
		return Step{}, nil, err
	}
	step, err := f.table.transact(StepForget, replacement{f.table.forward, forward})
	step.Deleted = deleted
	return step, append(forward, input...), err
}

// deleteEntries returns the entries that it deleted; one that went by itself
// meanwhile is not among them.
func (f *Fault) deleteEntries() (deleted []middlebox.Entry, err error) {
	entries, err := f.cfg.Conntrack.List()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !e.Match(f.cfg.Ports) {
			continue
		}
		switch err := f.cfg.Conntrack.Delete(e); {
		case errors.Is(err, middlebox.ErrGone):
		case err != nil:
			return nil, fmt.Errorf("%d of %d entries are deleted: %w", len(deleted), len(entries), err)
		default:
			deleted = append(deleted, e)
		}
	}
	return deleted, nil
}
