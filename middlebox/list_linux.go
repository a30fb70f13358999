package middlebox

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
)

// fewEntries is where the ways to list cost the same, for one port: a dump of
// all costs 5 µs an entry, a dump filtered by the kernel 5 ms, and it takes
// eight of those, since the kernel compares one port of one family at a time.
// Measured on Linux 6.18 with 262144 hash buckets.
const fewEntries = 8000

// List returns the TCP entries any of whose four ports is watched. It is not a
// picture of one moment: the kernel walks its table, which goes on changing.
func (c *Conntrack) List() ([]Entry, error) {
	if c.closed.Load() {
		return nil, fmt.Errorf("list conntrack entries: %w", os.ErrClosed)
	}
	n, err := c.count()
	if err != nil {
		return nil, fmt.Errorf("count conntrack entries: %w", err)
	}
	if n == 0 {
		return nil, nil // the kernel would walk all of its 262144 buckets
	}
	if n > fewEntries*len(c.ports) {
		entries, filtered, err := c.list(byPort(c.ports))
		if err != nil || filtered {
			return entries, err
		}
	}
	entries, _, err := c.list(byProtocol)
	return entries, err
}

// list asks each query and returns the watched entries. filtered is false where
// the kernel sent others as well: before Linux 5.8 it ignores filters.
func (c *Conntrack) list(queries []query) (entries []Entry, filtered bool, err error) {
	type name struct {
		id   uint32
		orig flow.Flow
	}
	seen := map[name]bool{}
	filtered = true
	for _, q := range queries {
		msgs, err := c.dump(q)
		if err != nil {
			return nil, false, fmt.Errorf("list conntrack entries: %w", err)
		}
		for _, m := range msgs {
			e, ok, err := decode(m.Data)
			if err != nil {
				return nil, false, err
			}
			if !ok || !e.Match(c.ports) {
				filtered = false
				continue
			}
			if n := (name{e.ID, e.Orig}); !seen[n] {
				seen[n] = true
				entries = append(entries, e)
			}
		}
	}
	return entries, filtered, nil
}

// query is a dump that the kernel filters: by family, protocol and, unless port
// is 0, the source or destination port of one of the two tuples.
type query struct {
	family uint8
	tuple  uint16 // CTA_TUPLE_ORIG or CTA_TUPLE_REPLY
	attr   uint16 // CTA_PROTO_SRC_PORT or CTA_PROTO_DST_PORT
	port   uint16
}

var byProtocol = []query{
	{family: unix.AF_INET, tuple: ctaTupleOrig},
	{family: unix.AF_INET6, tuple: ctaTupleOrig},
}

func byPort(ports flow.Ports) []query {
	var queries []query
	for _, all := range byProtocol {
		for _, port := range ports {
			for _, tuple := range []uint16{ctaTupleOrig, ctaTupleReply} {
				queries = append(queries,
					query{all.family, tuple, ctaProtoSrcPort, port},
					query{all.family, tuple, ctaProtoDstPort, port})
			}
		}
	}
	return queries
}

// Flags of a filter, net/netfilter/nf_internals.h, in the host's byte order.
const (
	filterProtoNum     uint32 = 1 << 3 // CTA_FILTER_F_CTA_PROTO_NUM
	filterProtoSrcPort uint32 = 1 << 4
	filterProtoDstPort uint32 = 1 << 5
)

func (c *Conntrack) dump(q query) ([]netlink.Message, error) {
	flags := filterProtoNum
	switch {
	case q.port == 0:
	case q.attr == ctaProtoSrcPort:
		flags |= filterProtoSrcPort
	default:
		flags |= filterProtoDstPort
	}
	return c.ask(ipctnlMsgCtGet, netlink.Dump, q.family, func(ae *netlink.AttributeEncoder) {
		ae.Nested(q.tuple, func(tuple *netlink.AttributeEncoder) error {
			tuple.Nested(ctaTupleProto, func(proto *netlink.AttributeEncoder) error {
				proto.Uint8(ctaProtoNum, unix.IPPROTO_TCP)
				if q.port != 0 {
					proto.Uint16(q.attr, q.port)
				}
				return nil
			})
			return nil
		})
		ae.Nested(ctaFilter, func(filter *netlink.AttributeEncoder) error {
			filter.ByteOrder = binary.NativeEndian
			filter.Uint32(q.tuple, flags) // CTA_FILTER_ORIG_FLAGS is 1, as CTA_TUPLE_ORIG; REPLY is 2
			return nil
		})
	})
}

// count is the number of entries in the namespace, of all protocols. (The answer
// to IPCTNL_MSG_CT_GET_STATS has NLM_F_MULTI and no end: one waits for ever.)
func (c *Conntrack) count() (int, error) {
	text, err := c.ns.Sysctl("net.netfilter.nf_conntrack_count")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}
