package middlebox

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	vnl "github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"halfopen/flow"
	"halfopen/netns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dialled is the port that clients dial; a rule redirects it to the port that
// the server listens on.
const (
	dialled = 15044
	served  = 5044
)

// newRedirector makes a namespace whose loopback redirects dialled to served,
// which also switches connection tracking on.
func newRedirector(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	err = ns.Do(func() error {
		lo, err := vnl.LinkByName("lo")
		if err != nil {
			return err
		}
		return vnl.LinkSetUp(lo)
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	table := c.AddTable(&nftables.Table{Name: "redirector", Family: nftables.TableFamilyINet})
	chain := c.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityNATDest,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{6}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(dialled)},
		&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(served)},
		&expr.Redir{RegisterProtoMin: 1},
	}})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	return ns
}

// sysctl writes a setting of the namespace.
func sysctl(t *testing.T, ns *netns.NS, path, value string) {
	t.Helper()
	err := ns.Do(func() error { return os.WriteFile("/proc/sys/"+path, []byte(value), 0) })
	if err != nil {
		t.Fatal(err)
	}
}

func openConntrack(t *testing.T, ns *netns.NS, ports ...uint16) *Conntrack {
	t.Helper()
	c, err := OpenConntrack(ns, flow.NewPorts(ports...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// connect dials to a listener of the namespace and returns the flow as each end
// sees it. Both ends stay open until the test ends.
func connect(t *testing.T, ns *netns.NS, ip string, dial, listen uint16) (client, server flow.Flow) {
	t.Helper()
	var l net.Listener
	var c net.Conn
	addr := netip.MustParseAddr(ip)
	err := ns.Do(func() (err error) {
		if l, err = net.Listen("tcp", netip.AddrPortFrom(addr, listen).String()); err != nil {
			return err
		}
		c, err = net.Dial("tcp", netip.AddrPortFrom(addr, dial).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return ends(c), ends(s)
}

func ends(c net.Conn) flow.Flow {
	return flow.New(c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort())
}

// await polls until done says so.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		<-time.After(time.Millisecond)
	}
}
