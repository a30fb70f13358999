package fault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
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

// Flags of a table, include/uapi/linux/netfilter/nf_tables.h.
const tableOwner = 0x2 // NFT_TABLE_F_OWNER

// table is an nf_tables table that belongs to a netlink socket and goes with it.
type table struct {
	*nftables.Table
	conn   *nftables.Conn
	chains map[string]*nftables.Chain
}

var tables atomic.Uint32

// openTable makes the table of a plan and its chains, with no rules that meet
// anything.
func openTable(ns *netns.NS, p plan) (*table, error) {
	var socket *netlink.Conn
	var conn *nftables.Conn
	// Inside the namespace, not by a descriptor of it: see netns.Netlink.
	err := ns.Do(func() (err error) {
		// Newer kernels take a chain of an interface that is not there yet.
		if _, err := net.InterfaceByName(p.Interface); err != nil && p.Interface != "" {
			return fmt.Errorf("interface %q: %w", p.Interface, err)
		}
		conn, err = nftables.New(nftables.AsLasting(),
			nftables.WithSockOptions(func(c *netlink.Conn) error { socket = c; return nil }))
		if err != nil {
			return fmt.Errorf("open nf_tables: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	t := &table{Table: &nftables.Table{Name: p.table, Family: nftables.TableFamilyINet}, conn: conn, chains: map[string]*nftables.Chain{}}
	if p.netdev() {
		t.Family = nftables.TableFamilyNetdev
	}
	if err := t.make(socket, p); err != nil {
		conn.CloseLasting()
		return nil, fmt.Errorf("make table %q: %w", p.table, err)
	}
	return t, nil
}

func (t *table) make(socket *netlink.Conn, p plan) error {
	if err := create(socket, t.Table, tableOwner); err != nil {
		return err
	}
	if p.netdev() {
		t.conn.AddChain(&nftables.Chain{Name: vanish, Table: t.Table})
		if err := t.conn.Flush(); err != nil {
			return fmt.Errorf("add chain %q: %w", vanish, err)
		}
		if err := forwardNowhere(socket, t.Table); err != nil {
			return fmt.Errorf("add the rule of chain %q: %w (does the kernel have nft_fwd_netdev?)", vanish, err)
		}
	}
	if p.Method.proxied {
		chain := t.conn.AddChain(&nftables.Chain{Name: keeper, Table: t.Table})
		t.conn.AddRule(&nftables.Rule{Table: t.Table, Chain: chain, Exprs: keep.exprs})
	}
	accept := nftables.ChainPolicyAccept
	for _, c := range p.places() {
		chain := &nftables.Chain{Name: c.name, Table: t.Table, Type: nftables.ChainType(c.kind()), Hooknum: c.hook, Priority: c.priority.number, Policy: &accept}
		if p.netdev() {
			chain.Device = p.Interface
		}
		t.chains[c.name] = t.conn.AddChain(chain)
	}
	err := t.conn.Flush()
	if p.netdev() && errors.Is(err, unix.EOPNOTSUPP) {
		err = fmt.Errorf("%w (rules on the way out of an interface need Linux 5.16)", err)
	}
	if err != nil {
		return fmt.Errorf("add chains: %w", err)
	}
	return nil
}

// create makes a table with flags, which google/nftables can't. The table then
// belongs to the socket.
func create(socket *netlink.Conn, t *nftables.Table, flags uint32) error {
	err := request(socket, unix.NFT_MSG_NEWTABLE, netlink.Create|netlink.Excl, t.Family, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_TABLE_NAME, t.Name)
		ae.Uint32(unix.NFTA_TABLE_FLAGS, flags)
	})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL): // a flag that it does not know
		return ErrNoOwner
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: it takes CAP_NET_ADMIN: run as root", err)
	}
	return err
}

// forwardNowhere adds the rule of the chain vanish, an expression that
// google/nftables does not have: "fwd" (net/netfilter/nft_fwd_netdev.c).
func forwardNowhere(socket *netlink.Conn, t *nftables.Table) error {
	const register = unix.NFT_REG_1
	expression := func(name string, fill func(*netlink.AttributeEncoder) error) func(*netlink.AttributeEncoder) error {
		return func(elem *netlink.AttributeEncoder) error {
			elem.Nested(unix.NFTA_LIST_ELEM, func(e *netlink.AttributeEncoder) error {
				e.String(unix.NFTA_EXPR_NAME, name)
				e.Nested(unix.NFTA_EXPR_DATA, fill)
				return nil
			})
			return nil
		}
	}
	index := expression("immediate", func(e *netlink.AttributeEncoder) error {
		e.Uint32(unix.NFTA_IMMEDIATE_DREG, register)
		e.Nested(unix.NFTA_IMMEDIATE_DATA, func(d *netlink.AttributeEncoder) error {
			d.Bytes(unix.NFTA_DATA_VALUE, binary.NativeEndian.AppendUint32(nil, nowhere))
			return nil
		})
		return nil
	})
	fwd := expression("fwd", func(e *netlink.AttributeEncoder) error {
		e.Uint32(unix.NFTA_FWD_SREG_DEV, register)
		return nil
	})
	return request(socket, unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append, t.Family, func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_RULE_TABLE, t.Name)
		ae.String(unix.NFTA_RULE_CHAIN, vanish)
		ae.Nested(unix.NFTA_RULE_EXPRESSIONS, func(list *netlink.AttributeEncoder) error {
			return errors.Join(index(list), fwd(list))
		})
	})
}

// request is a transaction of one message.
func request(socket *netlink.Conn, msg uint16, flags netlink.HeaderFlags, family nftables.TableFamily, fill func(*netlink.AttributeEncoder)) error {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	fill(ae)
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
				Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | msg),
				Flags: netlink.Request | netlink.Acknowledge | flags,
			},
			Data: append([]byte{byte(family), unix.NFNETLINK_V0, 0, 0}, attrs...),
		},
		batch(unix.NFNL_MSG_BATCH_END),
	})
	if err == nil {
		_, err = socket.Receive()
	}
	return err
}

// replace makes rules the only ones of the table, all at the same moment or not
// at all. Also is done just before.
func (t *table) replace(name string, rules []rule, also func()) (Step, error) {
	for _, c := range t.chains {
		t.conn.FlushChain(c)
	}
	for _, r := range rules {
		r.add(t)
	}
	return moment(name, "kernel acknowledged the rules", func() error {
		also()
		return t.conn.Flush()
	})
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
