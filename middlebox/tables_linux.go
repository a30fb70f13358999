package middlebox

import (
	"fmt"
	"maps"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Attributes of a table, and the flags of one whose chains are off their hooks and of one
// that goes with the socket of its owner (Linux 5.12), include/uapi/linux/netfilter/nf_tables.h.
const (
	nftaTableHandle  = 4
	nftaTableOwner   = 7
	nftTableFDormant = 1
	nftTableFOwner   = 2
)

// tableName names a table in its namespace.
type tableName struct{ family, table string }

// tableState is what is known of a table.
type tableState struct {
	handle  uint64 // another one of the same name has another
	owned   bool
	dormant bool
}

// decodeTable reads the body of NFT_MSG_NEWTABLE.
func decodeTable(body []byte) (name tableName, t tableState, err error) {
	family, ad, err := attributes(body)
	if err != nil {
		return name, t, err
	}
	name.family = family
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_TABLE_NAME:
			name.table = ad.String()
		case nftaTableHandle:
			t.handle = ad.Uint64()
		case nftaTableOwner:
			t.owned = true
		case unix.NFTA_TABLE_FLAGS:
			flags := ad.Uint32()
			t.owned, t.dormant = t.owned || flags&nftTableFOwner != 0, flags&nftTableFDormant != 0
		}
	}
	if err := ad.Err(); err != nil {
		return name, t, fmt.Errorf("decode nf_tables table %q: %w", body, err)
	}
	return name, t, nil
}

// tables are those that there are.
func (w *ruleWatch) tables() (map[tableName]tableState, error) {
	msgs, err := w.dump(unix.NFT_MSG_GETTABLE)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	list := map[tableName]tableState{}
	for _, m := range msgs {
		name, t, err := decodeTable(m.Data)
		if err != nil {
			return nil, err
		}
		list[name] = t
	}
	return list, nil
}

// listOwned notes the tables that have an owner.
func (w *ruleWatch) listOwned() error {
	asked := time.Now()
	tables, err := w.tables()
	if err != nil {
		return err
	}
	maps.DeleteFunc(tables, func(_ tableName, t tableState) bool { return !t.owned })
	w.owned, w.looked = tables, asked
	return nil
}

// orphaned looks for tables that went with their owners, which the kernel does not
// tell, and tells of the end of what they held.
func (w *ruleWatch) orphaned(conn *netlink.Conn) error {
	before, asked := w.looked, time.Now()
	if len(w.owned) == 0 {
		w.looked = asked
		return nil
	}
	there, err := w.tables()
	if err != nil {
		return err
	}
	if !empty(conn) { // it may be told
		return nil
	}
	w.looked = asked
	now := time.Now() // not sooner: what went since it was asked is missing, too
	for name, old := range w.owned {
		if t, ok := there[name]; !ok || t.handle != old.handle {
			w.vanished(name, now, now.Sub(before))
		}
	}
	return nil
}

// tableChanged takes a notice of a table: of one that came in the place of an owned one
// it tells that this went.
func (w *ruleWatch) tableChanged(came bool, body []byte) error {
	name, t, err := decodeTable(body)
	if err != nil {
		return err
	}
	if old, ok := w.owned[name]; ok && came && old.handle != t.handle {
		now := time.Now()
		w.vanished(name, now, now.Sub(w.looked))
	}
	if delete(w.owned, name); came && t.owned {
		w.owned[name] = t
	}
	return nil
}

// vanished tells of the end of what a table held.
func (w *ruleWatch) vanished(name tableName, now time.Time, within time.Duration) {
	delete(w.owned, name)
	maps.DeleteFunc(w.sets, func(s setName, _ contents) bool { return s.family == name.family && s.table == name.table })
	for _, r := range w.known {
		if r.Family == name.family && r.Table == name.table {
			w.gone(r)
			w.fn(RuleChange{Kind: Destroy, Time: now, Within: within, Rule: &r})
		}
	}
	for chain, r := range w.policies {
		if chain.family == name.family && chain.table == name.table {
			delete(w.policies, chain)
			w.fn(RuleChange{Kind: Destroy, Time: now, Within: within, Rule: &r})
		}
	}
}

// gone forgets a rule.
func (w *ruleWatch) gone(r Rule) {
	name := nameOf(r)
	delete(w.known, name)
	delete(w.placed, name)
	delete(w.counting, name)
	delete(w.held, name)
}

// listPolicies reads the policies of the chains that a hook leads to.
func (w *ruleWatch) listPolicies() (list []Rule, err error) {
	msgs, err := w.dump(unix.NFT_MSG_GETCHAIN)
	if err != nil {
		return nil, fmt.Errorf("list chains: %w", err)
	}
	w.policies = map[chainName]Rule{}
	for _, m := range msgs {
		r, ok, err := decodePolicy(m.Data)
		if err != nil {
			return nil, err
		}
		if ok {
			w.policies[chainOf(r)] = r
			list = append(list, r)
		}
	}
	return list, nil
}

// policiesAgain tells how they differ from what is known, after messages were lost.
func (w *ruleWatch) policiesAgain(within time.Duration) error {
	old := w.policies
	list, err := w.listPolicies()
	if err != nil {
		return err
	}
	for _, r := range list {
		if was, ok := old[chainOf(r)]; !ok || was.Drops != r.Drops {
			w.fn(RuleChange{Kind: Update, Time: time.Now(), Within: within, Rule: &r})
		}
		delete(old, chainOf(r))
	}
	for _, r := range old {
		w.fn(RuleChange{Kind: Destroy, Time: time.Now(), Within: within, Rule: &r})
	}
	return nil
}
