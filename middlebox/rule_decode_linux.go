package middlebox

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// families of nf_tables, include/uapi/linux/netfilter.h.
var families = map[uint8]string{
	unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_ARP: "arp",
	unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_IPV6: "ip6",
}

// familyNumber is NFPROTO_UNSPEC of one that is not known.
func familyNumber(name string) uint8 {
	for n, f := range families {
		if f == name {
			return n
		}
	}
	return unix.NFPROTO_UNSPEC
}

// attributes of a message of nf_tables, after its header.
func attributes(body []byte) (family string, ad *netlink.AttributeDecoder, err error) {
	if len(body) < nfgenmsgLen {
		return "", nil, fmt.Errorf("decode nf_tables message %q: shorter than its header", body)
	}
	ad, err = netlink.NewAttributeDecoder(body[nfgenmsgLen:])
	if err != nil {
		return "", nil, fmt.Errorf("decode nf_tables message %q: %w", body, err)
	}
	ad.ByteOrder = binary.BigEndian
	if family = families[body[0]]; family == "" {
		family = fmt.Sprintf("family %d", body[0])
	}
	return family, ad, nil
}

// decodeRule reads the body of NFT_MSG_NEWRULE or NFT_MSG_DELRULE.
func decodeRule(body []byte) (Rule, error) {
	var r Rule
	family, ad, err := attributes(body)
	if err != nil {
		return r, err
	}
	r.Family = family
	var x expressions
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_RULE_TABLE:
			r.Table = ad.String()
		case unix.NFTA_RULE_CHAIN:
			r.Chain = ad.String()
		case unix.NFTA_RULE_HANDLE:
			r.Handle = ad.Uint64()
		case unix.NFTA_RULE_EXPRESSIONS:
			ad.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					list.Nested(func(e *netlink.AttributeDecoder) error { return x.decode(e, &r) })
				}
				return nil
			})
		}
	}
	if err := ad.Err(); err != nil {
		return Rule{}, fmt.Errorf("decode nf_tables rule %q: %w", body, err)
	}
	r.wide = r.More
	r.More = r.More || slices.ContainsFunc(r.lookups, func(l lookup) bool { return l.ports })
	r.Text, r.Side = strings.Join(x.words, " "), x.side(r)
	return r, nil
}

// decodePolicy reads the body of NFT_MSG_NEWCHAIN: a base chain's policy as if it
// were its last rule. ok is false for a chain without one.
func decodePolicy(body []byte) (r Rule, ok bool, err error) {
	family, ad, err := attributes(body)
	if err != nil {
		return r, false, err
	}
	r.Family = family
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_CHAIN_TABLE:
			r.Table = ad.String()
		case unix.NFTA_CHAIN_NAME:
			r.Chain = ad.String()
		case unix.NFTA_CHAIN_POLICY:
			r.Drops, ok = ad.Uint32() == nfDrop, true
		}
	}
	if err := ad.Err(); err != nil {
		return Rule{}, false, fmt.Errorf("decode nf_tables chain %q: %w", body, err)
	}
	if _, _, hook, _, err := decodeChain(body); err == nil && hook != "" {
		r.Hooks = []string{hook}
	}
	r.Text = "policy accept"
	if r.Drops {
		r.Text = "policy drop"
	}
	return r, ok, nil
}

// decodeGeneration reads the body of NFT_MSG_NEWGEN: who made the changes that
// were told before it.
func decodeGeneration(body []byte) (name string, pid uint32, err error) {
	_, ad, err := attributes(body)
	if err != nil {
		return "", 0, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_GEN_PROC_PID:
			pid = ad.Uint32()
		case unix.NFTA_GEN_PROC_NAME:
			name = ad.String()
		}
	}
	if err := ad.Err(); err != nil {
		return "", 0, fmt.Errorf("decode nf_tables generation %q: %w", body, err)
	}
	return name, pid, nil
}
