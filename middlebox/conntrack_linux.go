package middlebox

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
)

// ErrGone is returned by Delete for an entry that is no more: expired, deleted
// by somebody else, or replaced by a new entry for the same connection.
var ErrGone = errors.New("conntrack entry is gone")

// Conntrack reads and deletes the entries of one namespace that have a watched
// port. Its methods may be called concurrently.
type Conntrack struct {
	ns     *netns.NS
	ports  flow.Ports
	conn   *netlink.Conn
	closed atomic.Bool
}

// OpenConntrack opens the connection tracking of a namespace, which must stay
// open as long as List and Watch are called. The methods need CAP_NET_ADMIN in the user
// namespace that owns the network namespace.
func OpenConntrack(ns *netns.NS, ports flow.Ports) (*Conntrack, error) {
	conn, err := netns.Netlink(ns, unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open conntrack: %w", err)
	}
	return &Conntrack{ns: ns, ports: ports, conn: conn}, nil
}

// Close ends the use of List and Delete.
func (c *Conntrack) Close() error {
	c.closed.Store(true)
	return c.conn.Close()
}

// Delete makes the kernel forget one entry of a List or an event; with its id,
// so that a newer entry of the same connection is spared. If the entry is no
// more the error is ErrGone.
//
// The connection's next packet makes a new entry, with whatever translation the
// rules then give it, unless a rule drops that packet
// (net.netfilter.nf_conntrack_tcp_loose = 1, the default).
func (c *Conntrack) Delete(e Entry) error {
	// The kernel takes a request without a tuple for one to delete all entries.
	if l, r := e.Orig.Local.Addr(), e.Orig.Remote.Addr(); !l.IsValid() || l.BitLen() != r.BitLen() {
		return fmt.Errorf("delete conntrack entry %s: want two addresses of one family", e.Orig)
	}
	_, err := c.ask(ipctnlMsgCtDelete, netlink.Acknowledge, family(e.Orig), func(ae *netlink.AttributeEncoder) {
		encodeTuple(ae, ctaTupleOrig, e.Orig)
		ae.Uint32(ctaID, e.ID)
		if e.Zone != 0 {
			ae.Uint16(ctaZone, e.Zone)
		}
	})
	if errors.Is(err, unix.ENOENT) {
		err = ErrGone
	}
	if err != nil {
		return fmt.Errorf("delete conntrack entry %s: %w", e.Orig, err)
	}
	return nil
}

// ask sends a request and returns the answers.
func (c *Conntrack) ask(msg uint16, flags netlink.HeaderFlags, family uint8, fill func(*netlink.AttributeEncoder)) ([]netlink.Message, error) {
	body, err := encode(family, fill)
	if err != nil {
		return nil, err
	}
	return c.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: messageType(msg), Flags: netlink.Request | flags},
		Data:   body,
	})
}
