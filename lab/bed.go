// Package lab is the test bed: a shipper, a router that masquerades and a
// receiver, each in a network namespace of its own, on a real kernel.
//
// The namespaces have no names: descriptors and threads of this process hold
// them, so they are gone with it, links, rules and conntrack entries too,
// however it ends.
package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"

	"halfopen/netns"
)

// Addresses inside the bed. The shipper knows the receiver's address and goes
// through the router, which replaces the shipper's address by its own.
var (
	ShipperAddr  = netip.MustParseAddr("10.50.0.2")
	CanaryAddr   = netip.MustParseAddr("10.50.0.3") // second address of the shipper's host
	RouterAddr   = netip.MustParseAddr("10.50.0.1") // on the shipper's side
	routerOut    = netip.MustParseAddr("10.51.0.1") // what the receiver sees
	ReceiverAddr = netip.MustParseAddr("10.51.0.2")
)

const netBits = 24

// Interfaces of the bed.
const (
	ShipperLink = "eth0"
	RouterLink  = "out" // of the router, toward the receiver
)

// Bed is the three namespaces.
type Bed struct {
	Shipper, Router, Receiver *netns.NS
}

// ErrRights is returned by NewBed where the caller may not make namespaces.
var ErrRights = errors.New("no right to make network namespaces")

// NewBed makes the namespaces, joins them, and lets the router forward and
// masquerade. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN.
func NewBed() (*Bed, error) {
	b := &Bed{}
	if err := b.build(); err != nil {
		b.Close()
		if errors.Is(err, os.ErrPermission) {
			return nil, fmt.Errorf("%w: %w: %s", ErrRights, err, howToGetRights)
		}
		return nil, err
	}
	return b, nil
}

func (b *Bed) build() error {
	for _, ns := range []**netns.NS{&b.Shipper, &b.Router, &b.Receiver} {
		var err error
		if *ns, err = netns.New(); err != nil {
			return err
		}
	}
	// Links are made inside the router's namespace, so the host never sees them.
	if err := b.Router.Do(b.joinRouter); err != nil {
		return err
	}
	if err := b.Router.SetSysctl("net.ipv4.ip_forward", "1"); err != nil {
		return err
	}
	if err := b.Shipper.Do(func() error { return configure("eth0", RouterAddr, ShipperAddr, CanaryAddr) }); err != nil {
		return fmt.Errorf("set up the shipper's side: %w", err)
	}
	if err := b.Receiver.Do(func() error { return configure("eth0", routerOut, ReceiverAddr) }); err != nil {
		return fmt.Errorf("set up the receiver's side: %w", err)
	}
	if err := b.Router.Do(awaitCarrier); err != nil {
		return err
	}
	return b.Router.Do(masquerade)
}

func (b *Bed) joinRouter() error {
	for _, side := range []struct {
		link string
		peer *netns.NS
		addr netip.Addr
	}{{"in", b.Shipper, RouterAddr}, {"out", b.Receiver, routerOut}} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = side.link
		veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(side.peer.FD())}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("add link %q to the router: %w", side.link, err)
		}
		if err := configure(side.link, netip.Addr{}, side.addr); err != nil {
			return fmt.Errorf("set up the router's link %q: %w", side.link, err)
		}
	}
	return nil
}

// carrierWithin is how long the kernel may take to see that a link is up; it
// looks once a second (net/core/link_watch.c).
const carrierWithin = 30 * time.Second

// awaitCarrier waits until the router's links are up for good. A SYN that is
// sent earlier may wait a second, and the RTO starts from what it measured.
func awaitCarrier() error {
	limit := time.Now().Add(carrierWithin)
	for _, name := range []string{"in", "out"} {
		for {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return fmt.Errorf("find link %q: %w", name, err)
			}
			if link.Attrs().OperState == netlink.OperUp {
				break
			}
			if time.Now().After(limit) {
				return fmt.Errorf("link %q of the router is still %s after %s", name, link.Attrs().OperState, carrierWithin)
			}
			time.Sleep(10 * time.Millisecond) // between two looks
		}
	}
	return nil
}

// configure brings a link of the caller's namespace up, and loopback with it.
func configure(name string, gateway netip.Addr, addrs ...netip.Addr) error {
	for _, up := range []string{"lo", name} {
		link, err := netlink.LinkByName(up)
		if err != nil {
			return fmt.Errorf("find link %q: %w", up, err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring link %q up: %w", up, err)
		}
		if up != name {
			continue
		}
		for _, a := range addrs {
			ipnet := &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(netBits, 32)}
			if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipnet}); err != nil {
				return fmt.Errorf("add address %s to link %q: %w", a, up, err)
			}
		}
	}
	if !gateway.IsValid() {
		return nil
	}
	if err := netlink.RouteAdd(&netlink.Route{Gw: gateway.AsSlice()}); err != nil {
		return fmt.Errorf("add the default route by %s: %w", gateway, err)
	}
	return nil
}

// masquerade replaces the source address of all that leaves the router toward
// the receiver; that also switches conntrack on in the router. The connection is
// opened inside the namespace: given a descriptor of it, the library would want
// to return to the host's, which an ordinary user may not.
func masquerade() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nf_tables in the router: %w", err)
	}
	table := c.AddTable(&nftables.Table{Name: "halfopen-nat", Family: nftables.TableFamilyIPv4})
	chain := c.AddChain(&nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	out := make([]byte, 16) // IFNAMSIZ, include/uapi/linux/if.h
	copy(out, "out")
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: out},
		&expr.Masq{},
	}})
	if err := c.Flush(); err != nil {
		return fmt.Errorf("masquerade in the router: %w (does the kernel have nf_tables and nft_masq?)", err)
	}
	return nil
}

// Close lets go of the namespaces and ends what was started in them.
func (b *Bed) Close() {
	for _, ns := range []*netns.NS{b.Shipper, b.Router, b.Receiver} {
		if ns != nil {
			ns.Close()
		}
	}
}
