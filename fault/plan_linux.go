package fault

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"

	"halfopen/flow"
)

// place is a chain of ours.
type place struct {
	name     string
	hook     *nftables.ChainHook
	priority priority
	out      bool // packets leave the host or the interface here
	nat      bool // it translates new connections, and meets nothing
	stray    bool // only packets that belong to no tracked connection are met here
}

// priority of a chain, as a number and as nft calls it.
type priority struct {
	number *nftables.ChainPriority
	name   string
}

// Ours come first, so that no foreign chain (iptables in both its kinds,
// firewalld, Docker's) drops a packet before it is counted or answers it with a
// RST. What is forwarded or received has been tracked and translated when these
// hooks begin; what is sent has not: there ours come next to connection tracking
// (-200, include/uapi/linux/netfilter_ipv4.h).
var (
	raw    = priority{nftables.ChainPriorityRaw, "raw"}
	beside = priority{nftables.ChainPriorityMangle, "mangle"}
	early  = priority{nftables.ChainPriorityRaw, "-300"} // of netdev, which has no such name
)

var (
	forward = place{name: "forward", hook: nftables.ChainHookForward, priority: raw}
	input   = place{name: "input", hook: nftables.ChainHookInput, priority: raw}
	output  = place{name: "output", hook: nftables.ChainHookOutput, priority: beside, out: true}
	ingress = place{name: "ingress", hook: nftables.ChainHookIngress, priority: early}
	egress  = place{name: "egress", hook: nftables.ChainHookEgress, priority: early, out: true}
	// Without its conntrack entry a packet of a translated connection is
	// addressed to the router itself, which would answer RST.
	stray = place{name: "input", hook: nftables.ChainHookInput, priority: raw, stray: true}
)

// plan is all that a fault does to the rules, before anything is done.
type plan struct {
	Config
	table   string      // its name
	replies []flow.Flow // what the flow is called after its translation is forgotten
	proxy   uint16      // port that a proxy listens on
}

func (p plan) netdev() bool { return p.Hook == HookInterface }

// family and name of the table, as nft spells them.
func (p plan) target() string {
	if p.netdev() {
		return "netdev " + p.table
	}
	return "inet " + p.table
}

func (p plan) places() []place {
	switch p.Hook {
	case HookOutput:
		return []place{output}
	case HookLocal:
		return []place{output, input}
	case HookInterface:
		return []place{egress, ingress}
	case HookProxy:
		return p.proxyPlaces()
	}
	if p.Method.forget {
		return []place{forward, stray}
	}
	return []place{forward}
}

// setup is how the table is made, as commands of nft(8).
func (p plan) setup() []string {
	lines := []string{fmt.Sprintf("add table %s { flags owner; }", p.target())}
	if p.netdev() {
		lines = append(lines,
			fmt.Sprintf("add chain %s %s", p.target(), vanish),
			fmt.Sprintf("add rule %s %s fwd to %d", p.target(), vanish, nowhere))
	}
	if p.Method.proxied {
		lines = append(lines,
			fmt.Sprintf("add chain %s %s", p.target(), keeper),
			fmt.Sprintf("add rule %s %s %s", p.target(), keeper, keep.text))
	}
	for _, c := range p.places() {
		device := ""
		if p.netdev() {
			device = fmt.Sprintf(" device %q", p.Interface)
		}
		lines = append(lines, fmt.Sprintf("add chain %s %s { type %s hook %s%s priority %s; policy accept; }",
			p.target(), c.name, c.kind(), c.hookName(), device, c.priority.name))
	}
	return lines
}

// first are the rules of the first step, second those of the second: the
// connections of before are known by conntrack, or named.
func (p plan) first() []rule {
	var rules []rule
	if p.Method.proxied {
		return append(p.redirects(p.Method.first), p.onward(p.Method.first)...)
	}
	for _, at := range p.places() {
		rules = append(rules, p.rules(p.Method.first, at, p.packets(at, p.Ways), join(p.Method.only, p.share()))...)
	}
	return rules
}

func (p plan) second(old []flow.Flow) []rule {
	var rules []rule
	if p.Method.proxied {
		return p.onward(StepHold)
	}
	for _, at := range p.places() {
		if p.Method.forget {
			rules = append(rules, p.rules(StepForget, at, p.packets(at, Both), forgotten)...)
			continue
		}
		var packets []packets
		for i, f := range old {
			packets = append(packets, p.flow(f, strconv.Itoa(i+1), p.Ways)...)
		}
		rules = append(rules, p.rules(StepHold, at, packets, join(p.Method.only, p.share()))...)
	}
	return rules
}

func (p plan) share() match {
	if p.Loss == 1 {
		return match{}
	}
	return share(p.Loss)
}

// packets of one direction.
type packets struct {
	which     string
	direction Direction
	match     match
}

// packets that the fault is about, as they pass a place.
func (p plan) packets(at place, ways Ways) (list []packets) {
	if at.stray {
		ways = Both
	}
	switch {
	case p.Flow != nil && at.stray:
		for i, f := range p.replies {
			list = append(list, p.flow(f, strconv.Itoa(i+1), ways)...)
		}
	case p.Flow != nil:
		list = p.flow(*p.Flow, "1", ways)
	case p.Everything:
		way := From
		if at.out || at.hook == nftables.ChainHookForward {
			way = Toward
		}
		if at.hook != nftables.ChainHookForward && !slices.Contains(ways.directions(), way) {
			return nil
		}
		all := packets{which: "all", direction: way, match: anyTCP()}
		if p.netdev() {
			all.match = match{}
		}
		list = append(list, all)
	default:
		for _, port := range p.Ports {
			for _, d := range ways.directions() {
				list = append(list, packets{strconv.Itoa(int(port)), d, toPort(port, d)})
			}
		}
	}
	return list
}

func (p plan) flow(f flow.Flow, which string, ways Ways) (list []packets) {
	for _, d := range ways.directions() {
		sent := f
		if d == From {
			sent = f.Reverse()
		}
		list = append(list, packets{which, d, packetsOf(sent, p.netdev())})
	}
	return list
}

func (p plan) rules(step string, at place, list []packets, only match) (rules []rule) {
	for _, k := range list {
		r := rule{step: step, chain: at.name, direction: k.direction, which: k.which, does: drop}
		switch {
		case at.name == egress.name:
			r.does = gone
		case p.Method.does.text != "":
			r.does = p.Method.does
		}
		if at.stray {
			only = forgotten
		}
		if p.Interface != "" && !p.netdev() {
			r.match = through(p.Interface, at.out)
		}
		r.match = join(r.match, k.match, only)
		rules = append(rules, r)
	}
	return rules
}

// script is the whole fault as commands of nft(8), with what nft has no command
// for as remarks.
func (p plan) script(old []flow.Flow) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	step := func(name string, rules []rule) {
		line("\n# step: %s", name)
		for _, c := range p.places() {
			line("flush chain %s %s", p.target(), c.name)
		}
		for _, r := range rules {
			if r.counts() {
				line("add counter %s %s", p.target(), r.counter())
			}
			line("%s", r.text(p.target()))
		}
	}
	line("# The table belongs to the process that makes it, and goes with it.")
	for _, s := range p.setup() {
		line("%s", s)
	}
	if p.Method.proxied {
		line("\n# A proxy of this process listens on a free port, for which %d stands here. It learns", p.proxy)
		line("# where a connection was to go, makes one of its own there, and copies both ways.")
		step(StepProxy, p.redirects(StepProxy))
	}
	step(p.Method.first, p.first())
	if p.Method.first == StepAck0 {
		line("# the proxy passes nothing on any more, and tells Lumberjack clients that wait ACK 0 every 5s")
	}
	if p.Method.first == StepExpire {
		line("# sysctl -w %s=%d", idleKey, int(p.Idle.Seconds()))
	}
	if p.Method.forget && p.Method.first != StepExpire {
		line("\n# the conntrack entries are deleted: conntrack -D, for each")
	}
	if p.Method.first == StepExpire {
		line("\n# sysctl %s as before", idleKey)
	}
	step(p.Method.second(), p.second(old))
	line("\n# step: %s", StepUndo)
	line("delete table %s", p.target())
	if p.Method.proxied {
		line("# the connections of the proxy are reset")
	}
	return b.String()
}
