package middlebox

import (
	"encoding/binary"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	maxElements = 64   // of a set, so that a rule is told once for each
	maxHeld     = 1024 // elements of a rule that are known to stand
)

// contents is what a set holds, as far as it is known.
type contents struct {
	list []element
	all  bool // no packet adds to it, and there are not too many
	wide bool // there are too many: it is not read again
}

// heldElement is an element that stands in the set that a rule looks up.
type heldElement struct {
	rule Rule
	ends time.Time // zero: it stays
	not  bool      // the rule is about what is not in the set
}

// elementChange is what a transaction did to one set.
type elementChange struct {
	kind EventKind
	set  setName
	list []element
}

// elements notes a notice; one transaction has one for each element.
func (w *ruleWatch) elements(kind EventKind, body []byte) error {
	name, list, err := decodeElements(body)
	if err != nil {
		return err
	}
	if c, ok := w.sets[name]; ok && !c.wide {
		delete(w.sets, name)
	}
	if n := len(w.elemental) - 1; n >= 0 && w.elemental[n].kind == kind && w.elemental[n].set == name {
		w.elemental[n].list = append(w.elemental[n].list, list...)
		return nil
	}
	w.elemental = append(w.elemental, elementChange{kind, name, list})
	return nil
}

// holds is what a set holds.
func (w *ruleWatch) holds(name setName) contents {
	if c, ok := w.sets[name]; ok {
		return c
	}
	var c contents
	flags, err := w.setFlags(name)
	if err == nil && flags&unix.NFT_SET_EVAL == 0 {
		msgs, err := w.ask.Execute(setRequest(name, unix.NFT_MSG_GETSETELEM, unix.NFTA_SET_ELEM_LIST_TABLE, unix.NFTA_SET_ELEM_LIST_SET, netlink.Dump))
		c.all = err == nil
		for _, m := range msgs {
			_, list, err := decodeElements(m.Data)
			c.list, c.all = append(c.list, list...), c.all && err == nil
		}
		if flags&unix.NFT_SET_INTERVAL != 0 {
			c.list = ranged(c.list)
		}
		if len(c.list) > maxElements {
			c = contents{wide: true}
		}
	}
	w.sets[name] = c
	return c
}

// setFlags are those of enum nft_set_flags.
func (w *ruleWatch) setFlags(name setName) (flags uint32, err error) {
	msgs, err := w.ask.Execute(setRequest(name, unix.NFT_MSG_GETSET, unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME, 0))
	if err != nil {
		return 0, err
	}
	for _, m := range msgs {
		if _, flags, err = decodeSet(m.Data); err != nil {
			return 0, err
		}
	}
	return flags, nil
}

func setRequest(name setName, what netlink.HeaderType, table, set uint16, flags netlink.HeaderFlags) netlink.Message {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.String(table, name.table)
	ae.String(set, name.set)
	attrs, _ := ae.Encode() // of two strings
	return netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | what, Flags: netlink.Request | flags},
		Data:   append([]byte{familyNumber(name.family), unix.NFNETLINK_V0, 0, 0}, attrs...),
	}
}

// each is a rule once for each element of the set that it looks up, as far as they are
// not known to stand. It notes at the rule whether it matches by those alone.
func (w *ruleWatch) each(r *Rule) (list []Rule) {
	if !r.asks(w.ports) || len(r.lookups) != 1 || r.lookups[0].not {
		return nil
	}
	l := r.lookups[0]
	c := w.holds(setName{r.Family, r.Table, l.set})
	r.Each = c.all
	for _, e := range c.list {
		if d := r.with(l, e, w.ports); d.Concerns(w.ports) && w.stands(d, l, e) {
			list = append(list, d)
		}
	}
	return list
}

// stands notes an element that came; false: it stood.
func (w *ruleWatch) stands(d Rule, l lookup, e element) bool {
	held := w.held[nameOf(d)]
	if held == nil {
		held = map[string]heldElement{}
		w.held[nameOf(d)] = held
	}
	h := heldElement{rule: d, not: l.not}
	if e.ends > 0 {
		if h.ends = time.Now().Add(e.ends); w.soonest.IsZero() || h.ends.Before(w.soonest) {
			w.soonest = h.ends
		}
	}
	key := d.Set + " " + d.Element
	_, stood := held[key]
	if stood || len(held) < maxHeld {
		held[key] = h
	}
	return !stood
}

// goes notes an element that is gone.
func (w *ruleWatch) goes(d Rule) { delete(w.held[nameOf(d)], d.Set+" "+d.Element) }

// changedElements are the changes of rules by those of the sets that they look up. Rules that
// came in the same transaction are told with what their sets hold.
func (w *ruleWatch) changedElements() (changes []RuleChange) {
	came := map[ruleName]bool{}
	for _, c := range w.pending {
		came[nameOf(*c.Rule)] = came[nameOf(*c.Rule)] || c.Kind == New
	}
	for _, change := range w.elemental {
		rules := w.looking(change.set)
		if len(rules) == 0 {
			continue
		}
		flags, err := w.setFlags(change.set)
		if err != nil {
			continue // it is gone, and so are they
		}
		list := change.list
		if flags&unix.NFT_SET_INTERVAL != 0 {
			list = ranged(list)
		}
		for _, r := range rules {
			if !came[nameOf(r)] {
				changes = append(changes, w.byElements(r, change, list)...)
			}
		}
	}
	w.elemental = w.elemental[:0]
	return changes
}

// looking are the rules that look a set up: those that may drop packets of the ports
// by it, else one of the others.
func (w *ruleWatch) looking(name setName) (rules []Rule) {
	var other []Rule
	for _, r := range w.known {
		for _, l := range r.lookups {
			switch {
			case l.set != name.set || r.Family != name.family || r.Table != name.table:
			case r.asks(w.ports):
				rules = append(rules, r)
			case other == nil || r.Handle < other[0].Handle:
				other = []Rule{r}
			}
		}
	}
	if rules == nil {
		return other
	}
	return rules
}

func (w *ruleWatch) byElements(r Rule, change elementChange, list []element) (changes []RuleChange) {
	now := time.Now()
	if r.Packets != nil && r.asks(w.ports) {
		if again, err := w.read(r); err == nil {
			r = r.counted(again)
			w.came(r)
		}
	}
	for _, l := range r.lookups {
		if l.set != change.set.set {
			continue
		}
		for _, e := range list {
			d := r.with(l, e, w.ports)
			if change.kind == Destroy {
				w.goes(d)
			} else if !w.stands(d, l, e) {
				continue // it has got more time
			}
			changes = append(changes, RuleChange{Kind: heldElement{not: l.not}.told(change.kind), Time: now, Rule: &d})
		}
	}
	return changes
}

// told is what becomes of the rule when the element comes or goes: what is taken from
// a set of exceptions is matched from then on.
func (h heldElement) told(kind EventKind) EventKind {
	switch {
	case !h.not:
		return kind
	case kind == New:
		return Destroy
	}
	return New
}

// expire tells of elements whose time is over, as the kernel does not.
func (w *ruleWatch) expire() {
	now := time.Now()
	if w.soonest.IsZero() || w.soonest.After(now) {
		return
	}
	w.soonest = time.Time{}
	for _, held := range w.held {
		for key, h := range held {
			switch {
			case h.ends.IsZero():
			case !h.ends.After(now):
				delete(held, key)
				if again, err := w.read(h.rule); err == nil {
					h.rule = h.rule.counted(again)
				}
				w.fn(RuleChange{Kind: h.told(Destroy), Time: now, Within: now.Sub(h.ends), Rule: &h.rule})
			case w.soonest.IsZero() || h.ends.Before(w.soonest):
				w.soonest = h.ends
			}
		}
	}
}

// compareElements tells how the sets differ from what is known, after messages were
// lost.
func (w *ruleWatch) compareElements(within time.Duration) {
	clear(w.sets)
	w.elemental = w.elemental[:0]
	for name, r := range w.known {
		old := w.held[name]
		delete(w.held, name)
		if !r.asks(w.ports) {
			continue
		}
		for _, d := range w.each(&r) {
			key := d.Set + " " + d.Element
			if _, stood := old[key]; !stood {
				w.fn(RuleChange{Kind: New, Time: time.Now(), Within: within, Rule: &d})
			}
			delete(old, key)
		}
		if !r.Each { // not all are known
			continue
		}
		for _, h := range old {
			w.fn(RuleChange{Kind: Destroy, Time: time.Now(), Within: within, Rule: &h.rule})
		}
	}
}
