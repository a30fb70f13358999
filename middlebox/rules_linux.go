package middlebox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
)

// nfnlgrpNFTables is NFNLGRP_NFTABLES, include/uapi/linux/netfilter/nfnetlink.h.
const nfnlgrpNFTables = 7

// WatchRules calls fn for each rule that a namespace has, as PRESENT, and then
// for each change of its packet filter, until ctx ends; then it returns nil. The
// kernel tells of nf_tables, in which iptables-nft and firewalld work, at once
// and with the process that did it. The tables of iptables-legacy are compared,
// once every period; where nobody uses them they are not touched, since reading
// one would make it. The kernel tells of a removed rule its name only, so the
// counters of one that came meanwhile, and may drop packets of the ports, are read
// once every period for as long as it stands.
//
// A table that vanishes with the process that owned it is not told by the
// kernel. It needs CAP_NET_ADMIN and CAP_NET_RAW.
func WatchRules(ctx context.Context, ns *netns.NS, ports flow.Ports, every time.Duration, fn func(RuleChange)) error {
	ask, err := netns.Netlink(ns, unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("watch rules: %w", err)
	}
	defer ask.Close()
	conn, err := netns.Netlink(ns, unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("watch rules: %w", err)
	}
	defer conn.Close()
	if err := conn.SetReadBuffer(readBuffer); err != nil {
		return fmt.Errorf("watch rules: %w", err)
	}
	if err := conn.JoinGroup(nfnlgrpNFTables); err != nil {
		return fmt.Errorf("watch rules: %w", err)
	}
	legacy, err := openLegacy(ns)
	if err != nil {
		return fmt.Errorf("watch rules: %w", err)
	}
	defer legacy.close()
	legacy.ports = ports
	w := &ruleWatch{ns: ns, ask: ask, fn: fn, ports: ports, known: map[ruleName]Rule{}, placed: map[ruleName]bool{}, counting: map[ruleName]uint64{}, legacy: legacy}
	if err := w.begin(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	return w.run(ctx, conn, every)
}

// ruleName names a rule of nf_tables in its namespace.
type ruleName struct {
	family, table string
	handle        uint64
}

func nameOf(r Rule) ruleName { return ruleName{r.Family, r.Table, r.Handle} }

// ruleWatch knows the rules, since the kernel tells of a removed one its handle
// only.
type ruleWatch struct {
	ns       *netns.NS
	ask      *netlink.Conn
	fn       func(RuleChange)
	ports    flow.Ports
	known    map[ruleName]Rule
	placed   map[ruleName]bool   // their hooks were looked for
	counting map[ruleName]uint64 // rules that came meanwhile, and what they had counted then
	legacy   *legacyTables
	pending  []RuleChange // of the transaction whose end has not been told yet
	heard    time.Time    // when the kernel's messages were last read
}

// lookShare bounds what the looks cost: after one, so many times its length
// passes until the next. A legacy table of 20,000 rules takes some 10 ms.
const lookShare = 100

func (w *ruleWatch) begin() error {
	rules, err := w.list()
	if err != nil {
		return err
	}
	for _, r := range rules {
		r.Absent = w.lacks(r)
		w.known[nameOf(r)] = r
	}
	w.reach()
	var present []Rule
	for _, r := range rules {
		present = append(present, w.known[nameOf(r)])
	}
	if err := w.legacy.compare(func(c RuleChange) { present = append(present, *c.Rule) }); err != nil {
		return err
	}
	// What comes from here on is told as new.
	w.fn(RuleChange{Kind: Watching, Time: time.Now()})
	for _, r := range present {
		w.fn(RuleChange{Kind: Present, Time: time.Now(), Rule: &r})
	}
	return nil
}

func (w *ruleWatch) run(ctx context.Context, conn *netlink.Conn, every time.Duration) error {
	w.heard = time.Now()
	for look, overrun := time.Now().Add(every), false; ; {
		if began := time.Now(); !began.Before(look) {
			if err := errors.Join(w.legacy.compare(w.fn), w.count()); err != nil {
				return fmt.Errorf("watch rules: %w", err)
			}
			look = began.Add(max(every, lookShare*time.Since(began)))
		}
		if overrun && empty(conn) {
			overrun = false
			if err := w.again(); err != nil {
				return err
			}
		}
		if err := conn.SetReadDeadline(look); err != nil {
			return fmt.Errorf("watch rules: %w", err)
		}
		if ctx.Err() != nil { // its deadline may have come before ours
			return nil
		}
		msgs, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			overrun = true
			continue
		case timedOut(err):
			w.heard = time.Now()
			continue
		case err != nil:
			return fmt.Errorf("watch rules: %w", err)
		}
		w.heard = time.Now()
		for _, m := range msgs {
			if err := w.message(m); err != nil {
				return err
			}
		}
	}
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// message takes one message. The changes of a transaction come before the new
// generation that tells who made them.
func (w *ruleWatch) message(m netlink.Message) error {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return nil
	}
	now := time.Now()
	switch m.Header.Type & 0xff {
	case unix.NFT_MSG_NEWRULE:
		r, err := decodeRule(m.Data)
		if err != nil {
			return err
		}
		r.Absent = w.lacks(r)
		w.came(r)
		w.pending = append(w.pending, RuleChange{Kind: New, Time: now, Rule: &r})
	case unix.NFT_MSG_DELRULE:
		r, err := decodeRule(m.Data)
		if err != nil {
			return err
		}
		if full, ok := w.known[nameOf(r)]; ok {
			r = full
			delete(w.known, nameOf(r))
			delete(w.placed, nameOf(r))
			delete(w.counting, nameOf(r))
		}
		w.pending = append(w.pending, RuleChange{Kind: Destroy, Time: now, Rule: &r})
	case unix.NFT_MSG_NEWCHAIN:
		r, ok, err := decodePolicy(m.Data)
		if err != nil {
			return err
		}
		if ok {
			if _, hook, _, err := decodeChain(m.Data); err == nil && hook != "" {
				r.Hooks = []string{hook}
			}
			w.pending = append(w.pending, RuleChange{Kind: Update, Time: now, Rule: &r})
		}
	case unix.NFT_MSG_NEWGEN:
		by, pid, err := decodeGeneration(m.Data)
		if err != nil {
			return err
		}
		leads := func(c RuleChange) bool { return c.Rule.Jump != "" || c.Kind == New && c.Rule.Concerns(w.ports) }
		if slices.ContainsFunc(w.pending, leads) {
			w.pending = append(w.pending, w.reach()...)
		}
		for _, c := range w.pending {
			if r, ok := w.known[nameOf(*c.Rule)]; ok && c.Kind == New {
				c.Rule = &r
			}
			c.By, c.PID = by, pid
			w.fn(c)
		}
		w.pending = w.pending[:0]
	}
	return nil
}

// again reads all rules after messages were lost, and tells what differs.
func (w *ruleWatch) again() error {
	now := time.Now()
	within := now.Sub(w.heard)
	w.pending = w.pending[:0]
	w.fn(RuleChange{Kind: Overrun, Time: now})
	rules, err := w.list()
	if err != nil {
		return err
	}
	gone := w.known
	w.known = make(map[ruleName]Rule, len(rules))
	var came []ruleName
	for _, r := range rules {
		if old, ok := gone[nameOf(r)]; ok {
			w.known[nameOf(r)] = old.counted(r)
		} else {
			r.Absent = w.lacks(r)
			w.came(r)
			came = append(came, nameOf(r))
		}
		delete(gone, nameOf(r))
	}
	changed := w.reach()
	for _, name := range came {
		r := w.known[name]
		w.fn(RuleChange{Kind: New, Time: now, Within: within, Rule: &r})
	}
	for _, c := range changed {
		c.Within = within
		w.fn(c)
	}
	for _, r := range gone {
		delete(w.placed, nameOf(r))
		delete(w.counting, nameOf(r))
		w.fn(RuleChange{Kind: Destroy, Time: now, Within: within, Rule: &r})
	}
	return nil
}
