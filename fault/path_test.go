package fault

import (
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/netns"
)

const port = 5044

var (
	clientAddr = netip.MustParsePrefix("10.50.0.2/24")
	insideAddr = netip.MustParsePrefix("10.50.0.1/24")
	routerAddr = netip.MustParsePrefix("10.51.0.1/24") // what the server sees of the client
	serverAddr = netip.MustParsePrefix("10.51.0.2/24")
)

var (
	clientEnd = netip.AddrPortFrom(clientAddr.Addr(), 40000) // of no connection
	serverEnd = netip.AddrPortFrom(serverAddr.Addr(), port)
)

// path is a client and a server with a router between them that masquerades.
type path struct {
	t                      *testing.T
	client, router, server *netns.NS
	listener               net.Listener
	conntrack              *middlebox.Conntrack
}

func newPath(t *testing.T) *path {
	t.Helper()
	p := &path{t: t}
	for _, ns := range []**netns.NS{&p.client, &p.router, &p.server} {
		made, err := netns.New()
		p.must(err)
		*ns = made
		t.Cleanup(func() { made.Close() })
	}
	p.must(p.router.Do(func() error {
		for name, peer := range map[string]*netns.NS{"in": p.client, "out": p.server} {
			attrs := vnl.NewLinkAttrs()
			attrs.Name = name
			if err := vnl.LinkAdd(&vnl.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: vnl.NsFd(peer.FD())}); err != nil {
				return err
			}
		}
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
			return err
		}
		if err := up("in", insideAddr, netip.Addr{}); err != nil {
			return err
		}
		return up("out", routerAddr, netip.Addr{})
	}))
	p.must(p.client.Do(func() error { return up("eth0", clientAddr, insideAddr.Addr()) }))
	p.must(p.server.Do(func() error { return up("eth0", serverAddr, netip.Addr{}) }))
	p.carrier(p.client, "eth0")
	p.carrier(p.server, "eth0")
	p.carrier(p.router, "in", "out")
	p.masquerade()
	p.must(p.server.Do(func() (err error) {
		lc := net.ListenConfig{KeepAlive: -1} // no probe is counted that nobody sent on purpose
		p.listener, err = lc.Listen(context.Background(), "tcp", netip.AddrPortFrom(serverAddr.Addr(), port).String())
		return err
	}))
	t.Cleanup(func() { p.listener.Close() })
	var err error
	p.conntrack, err = middlebox.OpenConntrack(p.router, flow.NewPorts(port))
	p.must(err)
	t.Cleanup(func() { p.conntrack.Close() })
	return p
}

func up(name string, addr netip.Prefix, gateway netip.Addr) error {
	link, err := vnl.LinkByName(name)
	if err != nil {
		return err
	}
	ipnet := &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), 32)}
	if err := vnl.AddrAdd(link, &vnl.Addr{IPNet: ipnet}); err != nil {
		return err
	}
	if err := vnl.LinkSetUp(link); err != nil || !gateway.IsValid() {
		return err
	}
	return vnl.RouteAdd(&vnl.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()})
}

// carrier waits until links carry packets, which the kernel may put off for a
// second (net/core/link_watch.c). A first SYN that waits so long for its ARP
// answer gives the connection a retransmission timeout of three seconds.
func (p *path) carrier(ns *netns.NS, links ...string) {
	p.t.Helper()
	for _, name := range links {
		await(p.t, "the carrier of "+name, func() bool {
			up := false
			p.must(ns.Do(func() error {
				link, err := vnl.LinkByName(name)
				up = err == nil && link.Attrs().OperState == vnl.OperUp
				return err
			}))
			return up
		})
	}
}

// masquerade makes the foreign table "nat", which no fault may touch.
func (p *path) masquerade() {
	p.t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(p.router.FD()))
	p.must(err)
	table := c.AddTable(&nftables.Table{Name: "nat", Family: nftables.TableFamilyIPv4})
	chain := c.AddChain(&nftables.Chain{
		Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: append([]byte("out"), make([]byte, unix.IFNAMSIZ-3)...)},
		&expr.Counter{},
		&expr.Masq{},
	}})
	p.must(c.Flush())
}

func (p *path) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *path) fault() *Fault {
	p.t.Helper()
	return p.open(Config{NS: p.router, Method: Transient, Ports: flow.NewPorts(port), Conntrack: p.conntrack})
}

func (p *path) open(cfg Config) *Fault {
	p.t.Helper()
	f, err := Open(cfg)
	p.must(err)
	p.t.Cleanup(func() {
		if err := f.Close(); err != nil {
			p.t.Error(err)
		}
	})
	return f
}

// tables are the names of the router's nf_tables tables.
func (p *path) tables() []string {
	p.t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(p.router.FD()))
	p.must(err)
	list, err := c.ListTables()
	p.must(err)
	var names []string
	for _, t := range list {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names
}

// resets is how many RSTs a namespace has sent: OutRsts of RFC 4022.
func (p *path) resets(ns *netns.NS) int {
	p.t.Helper()
	return p.tcpCount(ns, "OutRsts")
}

// tcpCount is a counter of a namespace's TCP.
func (p *path) tcpCount(ns *netns.NS, name string) int {
	p.t.Helper()
	text, err := os.ReadFile(ns.ProcRoot() + "/net/snmp")
	p.must(err)
	var names []string
	for l := range strings.Lines(string(text)) {
		if fields := strings.Fields(l); fields[0] == "Tcp:" {
			if names == nil {
				names = fields
				continue
			}
			n, err := strconv.Atoi(fields[slices.Index(names, name)])
			p.must(err)
			return n
		}
	}
	p.t.Fatalf("no Tcp line in %q", text)
	return 0
}

// pair is both ends of a connection through the router.
type pair struct {
	t              *testing.T
	client, server *net.TCPConn
}

// dial makes a connection that has carried a byte both ways.
func (p *path) dial() *pair {
	p.t.Helper()
	c, err := p.tryDial(60 * time.Second)
	p.must(err)
	return c
}

func (p *path) tryDial(timeout time.Duration) (*pair, error) {
	c := &pair{t: p.t}
	err := p.client.Do(func() error {
		d := net.Dialer{Timeout: timeout, KeepAlive: -1}
		conn, err := d.Dial("tcp", p.listener.Addr().String())
		if err == nil {
			c.client = conn.(*net.TCPConn)
			p.t.Cleanup(func() { conn.Close() })
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	conn, err := p.listener.Accept()
	if err != nil {
		return nil, err
	}
	c.server = conn.(*net.TCPConn)
	p.t.Cleanup(func() { conn.Close() })
	c.echo()
	return c, nil
}

// echo sends a byte to the server and one back.
func (c *pair) echo() {
	c.t.Helper()
	for _, way := range [][2]*net.TCPConn{{c.client, c.server}, {c.server, c.client}} {
		way[1].SetReadDeadline(time.Now().Add(60 * time.Second))
		if _, err := way[0].Write([]byte("x")); err != nil {
			c.t.Fatal(err)
		}
		if _, err := way[1].Read(make([]byte, 10)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// Bytes that write sends; the directions differ, so that no counter can be taken
// for the other.
const (
	clientBytes = 100
	serverBytes = 200
)

// write sends from both ends.
func (c *pair) write() {
	c.t.Helper()
	if _, err := c.client.Write(make([]byte, clientBytes)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.server.Write(make([]byte, serverBytes)); err != nil {
		c.t.Fatal(err)
	}
}

// flow is the connection as the client sees it.
func (c *pair) flow() flow.Flow { return ends(c.client) }

func ends(c *net.TCPConn) flow.Flow {
	return flow.New(c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort())
}

// info reads the kernel's view of one end.
func info(t *testing.T, c *net.TCPConn) *unix.TCPInfo {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var i *unix.TCPInfo
	if ctl := raw.Control(func(fd uintptr) { i, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); ctl != nil || err != nil {
		t.Fatal(ctl, err)
	}
	return i
}

// await polls until done says so.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	if !until(done) {
		t.Fatalf("waited in vain for %s", what)
	}
}

func until(done func() bool) bool {
	for end := time.Now().Add(60 * time.Second); !done(); {
		if time.Now().After(end) {
			return false
		}
		<-time.After(time.Millisecond)
	}
	return true
}
