package sockstate

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
)

// kind is one way in which addresses stand in the tables.
type kind struct {
	name           string
	listen, target netip.Addr
	silent         netip.Addr // a neighbour that answers nothing
}

var kinds = []kind{
	{"v4", netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.2")},
	{"v6", netip.MustParseAddr("::"), netip.MustParseAddr("::1"), netip.MustParseAddr("2001:db8::2")},
	{"v4-mapped", netip.MustParseAddr("::"), netip.MustParseAddr("::ffff:127.0.0.1"), netip.MustParseAddr("::ffff:192.0.2.2")},
}

// silence gives the namespace two neighbours that swallow what is sent to them.
func silence(t testing.TB, ns *netns.NS) {
	t.Helper()
	inside(t, ns, func() error {
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "out"}, PeerName: "sink"}); err != nil {
			return err
		}
		var links []netlink.Link
		for _, name := range []string{"out", "sink"} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return err
			}
			links = append(links, link)
		}
		for _, net := range []string{"192.0.2.1/24", "2001:db8::1/64"} {
			addr, err := netlink.ParseAddr(net)
			if err != nil {
				return err
			}
			addr.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(links[0], addr); err != nil {
				return err
			}
		}
		for _, ip := range []string{"192.0.2.2", "2001:db8::2"} {
			err := netlink.NeighSet(&netlink.Neigh{
				LinkIndex: links[0].Attrs().Index, State: netlink.NUD_PERMANENT,
				IP: netip.MustParseAddr(ip).AsSlice(), HardwareAddr: links[1].Attrs().HardwareAddr,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// everyState makes sockets in all states that the tables show, and returns how
// many rows there must be of each. A CLOSE socket is in no table: the kernel takes
// it out of its hash as it gets there.
func everyState(t *testing.T, ns *netns.NS, k kind) (ports flow.Ports, want map[State]int) {
	t.Helper()
	l := listen(t, ns, netip.AddrPortFrom(k.listen, testPort))
	listen(t, ns, netip.AddrPortFrom(k.listen, testPort+1), func(e end) error {
		return unix.SetsockoptInt(int(e), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60)
	})
	pair := func() (client, server end) {
		client = connect(t, ns, netip.AddrPortFrom(k.target, testPort))
		return client, l.accept(t)
	}

	pair() // ESTABLISHED twice
	client, _ := pair()
	client.write(t, "never read") // and two of which one has a receive queue

	client, _ = pair() // FIN_WAIT2 and CLOSE_WAIT
	client.shutdown(t)
	client, _ = pair() // a FIN_WAIT2 minisocket and CLOSE_WAIT
	client.close(t)
	client, server := pair() // TIME_WAIT
	client.close(t)
	server.reaches(t, CloseWait)
	server.close(t)

	client, _ = pair() // FIN_WAIT1: the FIN waits behind data for a closed window
	client.fill(t)
	client.shutdown(t) // the server stays ESTABLISHED
	client, server = pair()
	client.fill(t)
	client.shutdown(t)
	server.shutdown(t) // client CLOSING, server FIN_WAIT2
	client, server = pair()
	server.fill(t)
	client.shutdown(t) // FIN_WAIT2
	server.reaches(t, CloseWait)
	server.shutdown(t) // LAST_ACK

	connect(t, ns, netip.AddrPortFrom(k.target, testPort)) // ESTABLISHED, and the other end waits to be accepted

	start(t, ns, netip.AddrPortFrom(k.silent, testPort))     // SYN_SENT
	connect(t, ns, netip.AddrPortFrom(k.target, testPort+1)) // ESTABLISHED, its other end SYN_RECV

	cross(t, ns, k) // SYN_RECV that is a socket, not a request; the other end SYN_SENT

	return flow.NewPorts(testPort, testPort+1, testPort+2), map[State]int{
		Listen: 2, Established: 8, FinWait2: 4, CloseWait: 2, TimeWait: 1, FinWait1: 1,
		Closing: 1, LastAck: 1, SynSent: 2, SynRecv: 2,
	}
}

// cross makes a simultaneous open (RFC 9293, section 3.5): while one end waits for
// an answer from the silent neighbour, a SYN comes in its name. The end becomes
// SYN_RECV, and stays so: its SYN-ACK goes to the neighbour.
func cross(t *testing.T, ns *netns.NS, k kind) {
	t.Helper()
	e := start(t, ns, netip.AddrPortFrom(k.silent, testPort+2))
	name, mine, level, transparent := k.silent.Unmap(), netip.MustParseAddr("192.0.2.1"), unix.IPPROTO_IP, unix.IP_TRANSPARENT
	if name.Is6() {
		mine, level, transparent = netip.MustParseAddr("2001:db8::1"), unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT
	}
	domain, from := sockaddr(netip.AddrPortFrom(name, testPort+2))
	_, to := sockaddr(netip.AddrPortFrom(mine, e.port(t)))
	other := open(t, ns, domain, unix.SOCK_NONBLOCK)
	if err := errors.Join(unix.SetsockoptInt(int(other), level, transparent, 1), unix.Bind(int(other), from)); err != nil {
		t.Fatalf("take the name of %s: %v", name, err)
	}
	if err := unix.Connect(int(other), to); !errors.Is(err, unix.EINPROGRESS) {
		t.Fatalf("connect from %s: %v", name, err)
	}
}

func census(socks []Socket) map[State]int {
	n := make(map[State]int)
	for _, s := range socks {
		n[s.State]++
	}
	return n
}

func TestProcAndDiagAgreeInEveryState(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			ns := private(t)
			silence(t, ns)
			ports, want := everyState(t, ns, k)
			diag, err := OpenDiag(ns, ports)
			if err != nil {
				t.Fatal(err)
			}
			defer diag.Close()
			await(t, func() error {
				byDiag, err := diag.Dump()
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, census(byDiag)); diff != "" {
					return fmt.Errorf("states by inet_diag, -want +got:\n%s", diff)
				}
				byProc, bad, err := ReadProc(ns.ProcRoot(), ports)
				if err != nil || len(bad) > 0 {
					t.Fatal(bad, err)
				}
				return agree(byProc, byDiag)
			})
		})
	}
}

// agree compares two readings made shortly after one another.
func agree(byProc, byDiag []Socket) error {
	if len(byProc) != len(byDiag) {
		return fmt.Errorf("%d sockets in /proc, %d by inet_diag", len(byProc), len(byDiag))
	}
	rows := make(map[flow.Flow]Socket)
	for _, p := range byProc {
		rows[p.Flow] = p
	}
	for _, d := range byDiag {
		p, ok := rows[d.Flow]
		if !ok {
			return fmt.Errorf("%s is not in /proc", d.Flow)
		}
		if d.Cookie == 0 || p.Cookie != 0 {
			return fmt.Errorf("%s: cookies %d by inet_diag, %d in /proc", d.Flow, d.Cookie, p.Cookie)
		}
		mini := d.Timer == TimerTimeWait || d.State == SynRecv && d.Inode == 0
		if (d.Info == nil) != (mini || d.State == Listen) || (p.Proc == nil) != mini || p.Info != nil || d.Proc != nil {
			return fmt.Errorf("%s %s: wrong parts: %+v, %+v", d.Flow, d.State, p, d)
		}
		if mini {
			p.UID, d.UID = 0, 0 // /proc shows the listener's
			// Of a request that waits for data, /proc counts the timer's firings,
			// inet_diag the SYN-ACKs, which are not sent again.
			p.Retransmits, d.Retransmits = 0, 0
		}
		if d.State == Listen {
			if d.SendQ != 4096 {
				return fmt.Errorf("%s: limit of the accept queue %d", d.Flow, d.SendQ)
			}
			d.SendQ = 0
		}
		if i, c := d.Info, p.Proc; i != nil && c != nil {
			if i.Cwnd != c.Cwnd || i.Ssthresh != c.Ssthresh || (i.RTO-c.RTO).Abs() > userTick || (i.ATO-c.ATO).Abs() > userTick ||
				uint32(i.Retransmits) != c.Retransmits || uint32(i.Probes) != c.Probes {
				return fmt.Errorf("%s %s: tcp_info %+v, columns %+v", d.Flow, d.State, *i, *c)
			}
		}
		if d := p.TimerIn - d.TimerIn; d < -300*time.Millisecond || d > 300*time.Millisecond {
			return fmt.Errorf("%s: timers differ by %s", p.Flow, d)
		}
		d.TimerIn, d.Cookie, d.Info, p.TimerIn, p.Proc = 0, 0, nil, 0, nil
		if p != d {
			return fmt.Errorf("in /proc and by inet_diag differ:\n%+v\n%+v", p, d)
		}
	}
	return nil
}
