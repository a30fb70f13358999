package fault

import (
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rule meets and counts packets of one direction; one without a direction does not
// count. Its counter is an object of the table, which stays when the rule goes: its
// last value is not lost.
type rule struct {
	step      string
	chain     string
	direction Direction
	which     string // packets it is about: a port, the number of a connection, all
	match     match
	does      action
}

// action is what becomes of a packet.
type action struct {
	text  string
	exprs []expr.Any
}

var (
	drop = action{"drop", []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}}
	// gone hands the packet to an interface that there is not. The kernel frees
	// it and tells the sender nothing, as if it were lost on the way: drop on
	// egress is an error of the sender's write (net/netfilter/nft_fwd_netdev.c).
	gone = action{"goto " + vanish, []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: vanish}}}
	// refuse sends a RST to the packet's sender in the name of the other end.
	refuse = action{"reject with tcp reset", []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}}
	// shut lets the packet pass on with a window of zero, RFC 9293, section 3.1.
	// The kernel mends the checksum where the sender's kernel, or the network card,
	// has not left it to be made yet (net/netfilter/nft_payload.c).
	shut = action{"tcp window set 0", []expr.Any{
		&expr.Immediate{Register: 1, Data: []byte{0, 0}},
		&expr.Payload{
			OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 14, Len: 2,
			CsumType: expr.CsumTypeInet, CsumOffset: 16,
		},
	}}
)

// vanish is the chain of gone, and nowhere the index of no interface.
const (
	vanish  = "vanish"
	nowhere = 1<<31 - 1
)

func (r rule) counts() bool { return r.direction != "" }

// counter is the name of the rule's counter, one of its own in the table.
func (r rule) counter() string {
	return fmt.Sprintf("%s-%s-%s-%s", r.step, r.chain, r.direction, r.which)
}

// text is the rule as a command of nft(8), table being "inet halfopen-4242-1".
func (r rule) text(table string) string {
	condition := r.match.text
	if condition != "" {
		condition += " "
	}
	count := ""
	if r.counts() {
		count = fmt.Sprintf("counter name %q ", r.counter())
	}
	return fmt.Sprintf("add rule %s %s %s%s%s", table, r.chain, condition, count, r.does.text)
}

// add appends the rule and its counter to the transaction.
func (r rule) add(t *table) {
	var count []expr.Any
	if r.counts() {
		t.conn.AddObj(&nftables.CounterObj{Table: t.Table, Name: r.counter()})
		count = []expr.Any{&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: r.counter()}}
	}
	t.conn.AddRule(&nftables.Rule{
		Table: t.Table, Chain: t.chains[r.chain],
		Exprs: slices.Concat(r.match.exprs, count, r.does.exprs),
	})
}
