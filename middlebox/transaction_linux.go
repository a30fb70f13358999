package middlebox

import (
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// message takes one message. The changes of a transaction come before the new
// generation that tells who made them.
func (w *ruleWatch) message(m netlink.Message) error {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return nil
	}
	now := time.Now()
	switch m.Header.Type & 0xff {
	case unix.NFT_MSG_NEWTABLE, unix.NFT_MSG_DELTABLE:
		w.tabled = true
		return w.tableChanged(m.Header.Type&0xff == unix.NFT_MSG_NEWTABLE, m.Data)
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
			w.gone(r)
		}
		w.pending = append(w.pending, RuleChange{Kind: Destroy, Time: now, Rule: &r})
	case unix.NFT_MSG_NEWCHAIN:
		c, h, _, _, err := decodeChain(m.Data)
		if err != nil {
			return err
		}
		w.called(h, c)
		r, ok, err := decodePolicy(m.Data)
		if err != nil {
			return err
		}
		if ok {
			w.policies[chainOf(r)] = r
			w.pending = append(w.pending, RuleChange{Kind: Update, Time: now, Rule: &r})
		}
	case unix.NFT_MSG_DELCHAIN:
		c, h, _, _, err := decodeChain(m.Data)
		if err != nil {
			return err
		}
		delete(w.chains, h)
		if r, ok := w.policies[c]; ok {
			delete(w.policies, c)
			w.pending = append(w.pending, RuleChange{Kind: Destroy, Time: now, Rule: &r})
		}
	case unix.NFT_MSG_NEWSETELEM:
		return w.elements(New, m.Data)
	case unix.NFT_MSG_DELSETELEM:
		return w.elements(Destroy, m.Data)
	case unix.NFT_MSG_DELSET:
		name, _, err := decodeSet(m.Data)
		if err != nil {
			return err
		}
		delete(w.sets, name)
	case unix.NFT_MSG_NEWGEN:
		by, pid, err := decodeGeneration(m.Data)
		if err != nil {
			return err
		}
		w.commit(by, pid)
	}
	return nil
}

// commit tells what a transaction did.
func (w *ruleWatch) commit(by string, pid uint32) {
	leads := func(c RuleChange) bool {
		return c.Rule.Jump != "" || c.Kind == New && (c.Rule.Concerns(w.ports) || c.Rule.asks(w.ports))
	}
	jumps := func(c elementChange) bool {
		return slices.ContainsFunc(c.list, func(e element) bool { return e.jump != "" })
	}
	if w.tabled || slices.ContainsFunc(w.pending, leads) || slices.ContainsFunc(w.elemental, jumps) {
		w.pending = append(w.pending, w.reach()...)
	}
	w.tabled = false
	changes := w.changedElements()
	for _, c := range w.pending {
		r, ok := w.known[nameOf(*c.Rule)]
		if ok && c.Kind == New {
			c.Rule = &r
		}
		c.By, c.PID = by, pid
		elements := w.placedAnew(c)
		w.fn(c)
		for _, d := range elements {
			w.fn(RuleChange{Kind: New, Time: c.Time, By: by, PID: pid, Rule: &d})
		}
	}
	for _, c := range changes {
		c.By, c.PID = by, pid
		w.fn(c)
	}
	w.pending = w.pending[:0]
}

// placedAnew is each of the elements of a rule that came, or that a hook leads to from
// now on.
func (w *ruleWatch) placedAnew(c RuleChange) []Rule {
	r := c.Rule
	if _, stands := w.known[nameOf(*r)]; !stands || c.Kind != New && c.Kind != Update {
		return nil
	}
	delete(w.held, nameOf(*r))
	if c.Kind == Update && r.Loose {
		return nil
	}
	list := w.each(r)
	w.known[nameOf(*r)] = *r
	return list
}
