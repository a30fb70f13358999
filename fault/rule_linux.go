package fault

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// rule drops and counts TCP packets to or from ports. Its counter is an object
// of the table, which stays when the rule goes: its last value is not lost.
type rule struct {
	step      string
	chain     string
	direction Direction
	ports     flow.Ports
	match     match // what else must hold
}

// match is a condition in the syntax of nft and as the kernel takes it.
type match struct {
	text  string
	exprs []expr.Any
}

// counter is the name of the rule's counter, one of its own in the table.
func (r rule) counter() string { return fmt.Sprintf("%s-%s-%s", r.step, r.chain, r.direction) }

// text is the rule as a command of nft(8).
func (r rule) text(table string) string {
	ports := make([]string, len(r.ports))
	for i, p := range r.ports {
		ports[i] = fmt.Sprint(p)
	}
	key := "dport"
	if r.direction == From {
		key = "sport"
	}
	condition := fmt.Sprintf("tcp %s { %s }", key, strings.Join(ports, ", "))
	if r.match.text != "" {
		condition += " " + r.match.text
	}
	return fmt.Sprintf("add rule inet %s %s %s counter name %q drop", table, r.chain, condition, r.counter())
}

// add appends the rule and its counter to the transaction. id names its set of
// ports in there; the library would count in a variable that it does not guard.
func (r rule) add(t *table, chain *nftables.Chain, id uint32) error {
	t.conn.AddObj(&nftables.CounterObj{Table: t.Table, Name: r.counter()})
	ports := &nftables.Set{
		Table: t.Table, ID: id, Name: "__set%d", Anonymous: true, Constant: true,
		KeyType: nftables.TypeInetService,
	}
	var elements []nftables.SetElement
	for _, p := range r.ports {
		elements = append(elements, nftables.SetElement{Key: binaryutil.BigEndian.PutUint16(p)})
	}
	if err := t.conn.AddSet(ports, elements); err != nil {
		return fmt.Errorf("add rule %q: %w", r.text(t.Name), err)
	}
	offset := uint32(2) // of the destination port, RFC 9293, section 3.1
	if r.direction == From {
		offset = 0
	}
	exprs := slices.Concat(
		[]expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
			&expr.Lookup{SourceRegister: 1, SetName: ports.Name, SetID: id},
		},
		r.match.exprs,
		[]expr.Any{
			&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: r.counter()},
			&expr.Verdict{Kind: expr.VerdictDrop},
		})
	t.conn.AddRule(&nftables.Rule{Table: t.Table, Chain: chain, Exprs: exprs})
	return nil
}

// bothWays are two rules, toward and from the ports.
func bothWays(step, chain string, ports flow.Ports, m match) []rule {
	return []rule{
		{step: step, chain: chain, direction: Toward, ports: ports, match: m},
		{step: step, chain: chain, direction: From, ports: ports, match: m},
	}
}
