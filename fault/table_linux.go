package fault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/clock"
	"halfopen/netns"
)

// ErrNoOwner is returned by Open on kernels that know no owned tables.
var ErrNoOwner = errors.New("this kernel has no nf_tables tables with an owner (Linux 5.12 or newer is needed), and without it a fault could outlive this process")

// priority is that of our chains, NF_IP_PRI_RAW, "raw" in nft. Connection
// tracking and destination NAT are done before the forward and input hooks
// begin, so ct expressions work; and no foreign chain comes first that could
// drop a packet before it is counted, or answer it with a RST.
var priority = nftables.ChainPriorityRaw

// Flags of a table, include/uapi/linux/netfilter/nf_tables.h.
const tableOwner = 0x2 // NFT_TABLE_F_OWNER

// table is an nf_tables table that belongs to a netlink socket and goes with it.
type table struct {
	*nftables.Table
	conn           *nftables.Conn
	forward, input *nftables.Chain
}

var tables atomic.Uint32

// openTable makes the table and its two chains, with no rules.
func openTable(ns *netns.NS, name string) (*table, error) {
	var socket *netlink.Conn
	var conn *nftables.Conn
	// Inside the namespace, not by a descriptor of it: see netns.Netlink.
	err := ns.Do(func() (err error) {
		conn, err = nftables.New(nftables.AsLasting(),
			nftables.WithSockOptions(func(c *netlink.Conn) error { socket = c; return nil }))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open nf_tables: %w", err)
	}
	t := &table{Table: &nftables.Table{Name: name, Family: nftables.TableFamilyINet}, conn: conn}
	if err := create(socket, name, tableOwner); err != nil {
		conn.CloseLasting()
		return nil, err
	}
	t.forward = t.addChain("forward", nftables.ChainHookForward)
	t.input = t.addChain("input", nftables.ChainHookInput)
	if err := conn.Flush(); err != nil {
		conn.CloseLasting()
		return nil, fmt.Errorf("make chains in table %q: %w", name, err)
	}
	return t, nil
}

// create makes a table with flags, which google/nftables can't. The table then
// belongs to the socket.
func create(socket *netlink.Conn, name string, flags uint32) error {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	ae.String(unix.NFTA_TABLE_NAME, name)
	ae.Uint32(unix.NFTA_TABLE_FLAGS, flags)
	attrs, err := ae.Encode()
	if err != nil {
		return err
	}
	batch := func(msg uint16) netlink.Message { // struct nfgenmsg: the subsystem as resource
		return netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(msg), Flags: netlink.Request},
			Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES},
		}
	}
	_, err = socket.SendMessages([]netlink.Message{
		batch(unix.NFNL_MSG_BATCH_BEGIN),
		{
			Header: netlink.Header{
				Type:  unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE,
				Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl,
			},
			Data: append([]byte{unix.NFPROTO_INET, unix.NFNETLINK_V0, 0, 0}, attrs...),
		},
		batch(unix.NFNL_MSG_BATCH_END),
	})
	if err == nil {
		_, err = socket.Receive()
	}
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL): // a flag that it does not know
		return fmt.Errorf("make table %q: %w", name, ErrNoOwner)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("make table %q: %w (it takes CAP_NET_ADMIN)", name, err)
	case err != nil:
		return fmt.Errorf("make table %q: %w", name, err)
	}
	return nil
}

func (t *table) addChain(name string, hook *nftables.ChainHook) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return t.conn.AddChain(&nftables.Chain{
		Name: name, Table: t.Table, Type: nftables.ChainTypeFilter,
		Hooknum: hook, Priority: priority, Policy: &accept,
	})
}

// setup is how the table was made, as commands of nft(8).
func (t *table) setup() []string {
	lines := []string{fmt.Sprintf("add table inet %s { flags owner; }", t.Name)}
	for _, c := range []*nftables.Chain{t.forward, t.input} {
		lines = append(lines, fmt.Sprintf("add chain inet %s %s { type filter hook %s priority raw; policy accept; }", t.Name, c.Name, c.Name))
	}
	return lines
}

// replacement makes rules the only ones of a chain.
type replacement struct {
	chain *nftables.Chain
	rules []rule
}

// transact replaces the rules of chains, all at the same moment or not at all.
func (t *table) transact(name string, replacements ...replacement) (Step, error) {
	set := uint32(0)
	for _, c := range replacements {
		t.conn.FlushChain(c.chain)
		for _, r := range c.rules {
			set++
			if err := r.add(t, c.chain, set); err != nil {
				return Step{}, err
			}
		}
	}
	return moment(name, "kernel acknowledged the rules", t.conn.Flush)
}

// moment makes the step of a change, by two readings of the clock around it.
func moment(name, known string, change func() error) (Step, error) {
	step := Step{Name: name, Known: known, Mono: clock.Mono(), Start: time.Now().UTC()}
	err := change()
	step.End = time.Now().UTC()
	step.Took = step.End.Sub(step.Start)
	return step, err
}

// counters reads the table's counters by name.
func (t *table) counters() (map[string]*nftables.CounterObj, error) {
	objs, err := t.conn.GetObjects(t.Table)
	if err != nil {
		return nil, fmt.Errorf("read counters of table %q: %w", t.Name, err)
	}
	read := map[string]*nftables.CounterObj{}
	for _, o := range objs {
		if c, ok := o.(*nftables.CounterObj); ok {
			read[c.Name] = c
		}
	}
	return read, nil
}
