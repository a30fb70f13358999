package fault

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// The chains that lead new connections into the proxy come just before those of
// others that translate destinations (dstnat, -100), so that it learns the address
// that the client meant.
var (
	beforeNAT  = priority{nftables.ChainPriorityRef(-101), "-101"}
	afterNAT   = priority{nftables.ChainPriorityRef(101), "101"} // srcnat, 100, takes back what local programs' packets were translated to
	prerouting = place{name: "prerouting", hook: nftables.ChainHookPrerouting, priority: beforeNAT, nat: true}
	redirected = place{name: "redirected", hook: nftables.ChainHookOutput, priority: beforeNAT, nat: true}
	answered   = place{name: "input", hook: nftables.ChainHookInput, priority: afterNAT}
)

// proxyMark is on the sockets by which the proxy makes connections of its own
// (SO_MARK): they are not redirected, and the rules know them. No bit of it is among
// those that Kubernetes, Cilium, Calico or Tailscale use.
const proxyMark = 0xbd

// keeper is a chain that nothing passes. Its rule keeps connection tracking on, and so
// the translation of connections that pass through the proxy, when the rules that
// led them there are gone: the kernel tracks as long as an expression asks for it
// (nf_ct_netns_get).
const keeper = "keep"

var keep = tracked("established", expr.CtStateBitESTABLISHED)

// examplePort stands for the port of a proxy that there is not.
const examplePort = 49152

func (c place) kind() string {
	if c.nat {
		return "nat"
	}
	return "filter"
}

// hookName is the name of the chain's hook, and mostly of the chain too.
func (c place) hookName() string {
	if c.name == redirected.name {
		return output.name
	}
	return c.name
}

func (p plan) proxyPlaces() []place {
	places := []place{prerouting, redirected}
	if p.Method.first == StepDrop {
		places = append(places, output, answered)
	}
	return places
}

// redirects lead new connections into the proxy. The middle of a connection that
// conntrack has not known so far is no new one.
func (p plan) redirects(step string) (rules []rule) {
	into := action{fmt.Sprintf("redirect to :%d", p.proxy), []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(p.proxy)},
		&expr.Redir{RegisterProtoMin: 1, Flags: 0x2}, // NF_NAT_RANGE_PROTO_SPECIFIED, include/uapi/linux/netfilter/nf_nat.h
	}}
	for _, port := range p.Ports {
		begins := join(toPort(port, Toward), beginning)
		rules = append(rules,
			rule{step: step, chain: prerouting.name, match: begins, does: into},
			rule{step: step, chain: redirected.name, match: join(unmarked, begins), does: into})
	}
	return rules
}

// onward are the rules that cut the proxy's own connections.
func (p plan) onward(step string) (rules []rule) {
	if p.Method.first != StepDrop {
		return nil
	}
	for _, port := range p.Ports {
		which := fmt.Sprint(port)
		rules = append(rules,
			rule{step: step, chain: output.name, direction: Toward, which: which, match: join(marked, toPort(port, Toward)), does: drop},
			rule{step: step, chain: answered.name, direction: From, which: which, match: join(toPort(port, From), ofMarked), does: drop})
	}
	return rules
}

var (
	beginning = flags("tcp flags & (fin | syn | rst | ack) == syn", fin|syn|rst|ack, expr.CmpOpEq, syn)
	marked    = mark("meta mark %#x", &expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, expr.CmpOpEq)
	unmarked  = mark("meta mark != %#x", &expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, expr.CmpOpNeq)
	// ofMarked is a packet for a socket with the mark (net/netfilter/nft_socket.c).
	ofMarked = mark("socket mark %#x", &expr.Socket{Key: expr.SocketKeyMark, Register: 1}, expr.CmpOpEq)
)

func mark(text string, load expr.Any, op expr.CmpOp) match {
	return match{text: fmt.Sprintf(text, proxyMark), exprs: []expr.Any{
		load, &expr.Cmp{Op: op, Register: 1, Data: binaryutil.NativeEndian.PutUint32(proxyMark)},
	}}
}
