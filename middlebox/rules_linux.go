package middlebox

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/clock"
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
// once every period for as long as it stands. It does not tell of a table that
// vanishes with the process that owned it, which is looked for once every period,
// nor of what a packet adds to a set, nor of an ipset. It needs CAP_NET_ADMIN and CAP_NET_RAW.
func WatchRules(ctx context.Context, ns *netns.NS, ports flow.Ports, every time.Duration, fn func(RuleChange)) error {
	w, err := openRules(ns, ports, fn)
	if err != nil {
		return fmt.Errorf("watch rules: %w", err)
	}
	defer w.close()
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
	if err := w.begin(); err != nil {
		return fmt.Errorf("watch rules: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := w.run(ctx, conn, every); err != nil {
		return fmt.Errorf("watch rules: %w", err)
	}
	return nil
}

// ReadRules calls fn for each rule that a namespace has, as WatchRules does first.
func ReadRules(ns *netns.NS, ports flow.Ports, fn func(RuleChange)) error {
	w, err := openRules(ns, ports, fn)
	if err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	defer w.close()
	if err := w.begin(); err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	return nil
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
	ns        *netns.NS
	ask       *netlink.Conn
	fn        func(RuleChange)
	ports     flow.Ports
	known     map[ruleName]Rule
	policies  map[chainName]Rule
	owned     map[tableName]tableState
	chains    map[chainHandle]string
	placed    map[ruleName]bool   // their hooks were looked for
	counting  map[ruleName]uint64 // rules that came meanwhile, and what they had counted then
	sets      map[setName]contents
	held      map[ruleName]map[string]heldElement
	soonest   time.Time // when the time of the first element is over; zero: none has any
	legacy    *legacyTables
	pending   []RuleChange    // of the transaction whose end has not been told yet
	elemental []elementChange // also of it
	tabled    bool            // also of it: a table came or went, fell asleep or woke
	heard     time.Time       // when the kernel's messages were last read
	looked    time.Time       // when owned tables were last looked for
	telling   time.Duration   // CPU time, of the last look
}

func openRules(ns *netns.NS, ports flow.Ports, fn func(RuleChange)) (*ruleWatch, error) {
	ask, err := netns.Netlink(ns, unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	legacy, err := openLegacy(ns, ports)
	if err != nil {
		ask.Close()
		return nil, err
	}
	w := &ruleWatch{
		ns: ns, ask: ask, ports: ports, legacy: legacy,
		known: map[ruleName]Rule{}, policies: map[chainName]Rule{}, owned: map[tableName]tableState{}, placed: map[ruleName]bool{}, chains: map[chainHandle]string{},
		counting: map[ruleName]uint64{}, sets: map[setName]contents{}, held: map[ruleName]map[string]heldElement{},
	}
	w.fn = func(c RuleChange) {
		began := clock.Spent()
		fn(c)
		w.telling += clock.Spent() - began
	}
	return w, nil
}

func (w *ruleWatch) close() {
	w.ask.Close()
	w.legacy.close()
}

// lookShare bounds what the looks cost: after one, so many times its CPU time passes
// until the next. A legacy table of 20,000 rules takes some 10 ms. What it takes to
// tell of changes is left out: a firewall that is loaded anew has hundreds, and more
// may follow soon.
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
		r = w.known[nameOf(r)]
		elements := w.each(&r)
		w.known[nameOf(r)] = r
		present = append(append(present, r), elements...)
	}
	policies, err := w.listPolicies()
	if err != nil {
		return err
	}
	present = append(present, policies...)
	if err := w.listOwned(); err != nil {
		return err
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
	runtime.LockOSThread() // whose CPU time is looked at
	defer runtime.UnlockOSThread()
	w.heard = time.Now()
	for look, overrun := time.Now().Add(every), false; ; {
		if began := time.Now(); !began.Before(look) {
			w.telling = 0
			cost := clock.Spent()
			if err := errors.Join(w.legacy.compare(w.fn), w.count(), w.orphaned(conn)); err != nil {
				return err
			}
			look = began.Add(max(every, lookShare*(clock.Spent()-cost-w.telling)))
		}
		if overrun && empty(conn) {
			overrun = false
			if err := w.again(); err != nil {
				return err
			}
		}
		w.expire()
		due := look
		if !w.soonest.IsZero() && w.soonest.Before(look) {
			due = w.soonest
		}
		if err := conn.SetReadDeadline(due); err != nil {
			return err
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
			return err
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
	w.compareElements(within)
	for _, c := range changed {
		c.Within = within
		w.fn(c)
	}
	for _, r := range gone {
		w.gone(r)
		w.fn(RuleChange{Kind: Destroy, Time: now, Within: within, Rule: &r})
	}
	return errors.Join(w.policiesAgain(within), w.listOwned())
}
