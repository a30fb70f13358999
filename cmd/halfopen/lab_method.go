package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"halfopen/fault"
	"halfopen/lab"
	"halfopen/timeline"
)

// labMethod is what the lab does to its path, or to a party.
type labMethod struct {
	name string
	what string

	rules *fault.Method // nil: nothing is done to the path
	at    string        // place where the rules stand; empty: the router
	hook  fault.Hook    // empty: where the method belongs
	iface string
	pass  bool // after the cut everything passes again, not only what is new

	proxied bool // a proxy ends the shipper's connection in the router

	// lead is done before the first step, act once the rules are in force, or
	// instead of them, heal when the time of the cut is over.
	lead, act, heal func(*experiment, context.Context) error
}

var labMethods = []labMethod{
	{name: timeline.MethodNone, what: "nothing: a healthy connection, for comparison"},
	{name: "a", what: fault.Local.What + "; then for the old connection alone", rules: &fault.Local, at: timeline.Shipper},
	{name: "b", what: fault.Link.What + "; then for the old connection alone", rules: &fault.Link, at: timeline.Shipper, iface: lab.ShipperLink},
	{name: timeline.MethodTransient, what: fault.Transient.What, rules: &fault.Transient},
	{name: "d", what: "silent proxy: one that ends the shipper's connection goes on acknowledging, while its way to the receiver is cut",
		rules: &fault.Link, iface: lab.RouterLink, proxied: true},
	{name: "e", what: "idle expiry: the router forgets the connection while nothing flows", rules: &fault.Idle,
		lead: (*experiment).fallSilent, act: (*experiment).expire},
	{name: "f-fin", what: "the receiver is killed, its FIN and RST are lost, and it comes back", rules: &fault.LostFIN,
		act: (*experiment).killReceiver, heal: (*experiment).startReceiver},
	{name: "f-rst", what: "a third party answers data with RST, for the time of the cut", rules: &fault.Reset, pass: true},
	{name: "f-zero-window", what: "the receiver stops reading", act: (*experiment).stopReceiver},
	{name: "f-ack0", what: "the receiver's output is blocked: it keeps the shipper waiting with ACK 0", act: (*experiment).blockReceiver},
}

func labMethodNamed(name string) (labMethod, error) {
	i := slices.IndexFunc(labMethods, func(m labMethod) bool { return m.name == name })
	if i >= 0 {
		return labMethods[i], nil
	}
	var names []string
	for _, m := range labMethods {
		names = append(names, m.name)
	}
	return labMethod{}, fmt.Errorf("--method %q: want one of %s", name, strings.Join(names, ", "))
}

func labMethodHelp() string {
	var b strings.Builder
	for _, m := range labMethods {
		fmt.Fprintf(&b, "  %-14s %s\n", m.name, m.what)
	}
	return b.String()
}

// place is where the rules stand.
func (m labMethod) place() string {
	if m.at == "" {
		return timeline.Router
	}
	return m.at
}
