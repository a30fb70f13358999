package middlebox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// listTries is how often a dump is begun anew because the ruleset changed in the
// middle of it (EINTR, or NLM_F_DUMP_INTR).
const listTries = 5

func (w *ruleWatch) dump(what netlink.HeaderType) (msgs []netlink.Message, err error) {
	for range listTries {
		msgs, err = w.ask.Execute(netlink.Message{
			Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | what, Flags: netlink.Request | netlink.Dump},
			Data:   []byte{unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, 0, 0},
		})
		if err == nil {
			break
		}
	}
	return msgs, err
}

func (w *ruleWatch) list() (rules []Rule, err error) {
	msgs, err := w.dump(unix.NFT_MSG_GETRULE)
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", err)
	}
	for _, m := range msgs {
		r, err := decodeRule(m.Data)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// maxCounting bounds how many rules are asked for their counters.
const maxCounting = 64

// came takes a rule that is new.
func (w *ruleWatch) came(r Rule) {
	w.known[nameOf(r)] = r
	if r.Packets != nil && r.Concerns(w.ports) && len(w.counting) < maxCounting {
		w.counting[nameOf(r)] = *r.Packets
	}
}

// met is told of a rule that counts for the first time.
const met = ^uint64(0)

// count reads the counters of the rules that came meanwhile.
func (w *ruleWatch) count() error {
	for name, first := range w.counting {
		r, err := w.read(w.known[name])
		switch {
		case errors.Is(err, unix.ENOENT):
			continue // it has just gone, as the kernel will tell
		case err != nil:
			return err
		}
		r = w.known[name].counted(r)
		w.known[name] = r
		if first != met && r.Packets != nil && *r.Packets > first {
			w.counting[name] = met
			w.fn(RuleChange{Kind: Counted, Time: time.Now(), Rule: &r})
		}
	}
	return nil
}

// counted is the rule with its counters as they were read again.
func (r Rule) counted(again Rule) Rule {
	r.Packets, r.Bytes = again.Packets, again.Bytes
	return r
}

// read asks for one rule.
func (w *ruleWatch) read(r Rule) (Rule, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.String(unix.NFTA_RULE_TABLE, r.Table)
	ae.String(unix.NFTA_RULE_CHAIN, r.Chain)
	ae.Uint64(unix.NFTA_RULE_HANDLE, r.Handle)
	attrs, err := ae.Encode()
	if err != nil {
		return r, err
	}
	msgs, err := w.ask.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE, Flags: netlink.Request},
		Data:   append([]byte{familyNumber(r.Family), unix.NFNETLINK_V0, 0, 0}, attrs...),
	})
	if err != nil {
		return r, fmt.Errorf("read rule %d of table %q: %w", r.Handle, r.Table, err)
	}
	for _, m := range msgs {
		return decodeRule(m.Data)
	}
	return r, nil
}
