package sockstate

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"halfopen/netns"
)

var (
	hereAddr  = netip.MustParseAddr("10.9.0.1")
	thereAddr = netip.MustParseAddr("10.9.0.2")
)

// joined makes two namespaces with a cable between them. Their neighbours are
// fixed: a failed look-up of one would end a connection with EHOSTUNREACH.
func joined(t *testing.T) (here, there *netns.NS) {
	t.Helper()
	here, there = private(t), private(t)
	inside(t, here, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "wire"}, PeerName: "wire", PeerNamespace: netlink.NsFd(there.FD()),
		})
	})
	var links [2]netlink.Link
	for i, ns := range []*netns.NS{here, there} {
		inside(t, ns, func() (err error) {
			if links[i], err = netlink.LinkByName("wire"); err != nil {
				return err
			}
			return netlink.LinkSetUp(links[i])
		})
	}
	for i, ns := range []*netns.NS{here, there} {
		own, peer := hereAddr, thereAddr
		if i == 1 {
			own, peer = peer, own
		}
		inside(t, ns, func() error {
			addr, err := netlink.ParseAddr(own.String() + "/24")
			if err != nil {
				return err
			}
			return errors.Join(netlink.AddrAdd(links[i], addr), netlink.NeighSet(&netlink.Neigh{
				LinkIndex: links[i].Attrs().Index, State: netlink.NUD_PERMANENT,
				IP: peer.AsSlice(), HardwareAddr: links[1-i].Attrs().HardwareAddr,
			}))
		})
	}
	return here, there
}

// blackhole makes the other end swallow all that is sent to it, without a word.
func blackhole(t *testing.T, there *netns.NS) {
	t.Helper()
	inside(t, there, func() error {
		wire, err := netlink.LinkByName("wire")
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(thereAddr.String() + "/24")
		if err != nil {
			return err
		}
		return netlink.AddrDel(wire, addr)
	})
}

// span is when a thing happened: not before from, not after to. However late a
// busy machine lets the test look, the truth lies between.
type span struct{ from, to time.Time }

// death is the end of a connection, and how late its timers may have run until then: a
// busy machine delays the kernel's, too.
type death struct {
	span
	late  time.Duration // all of them together
	worst time.Duration
}

// prophecy is a forecast with the moment that it counts from, that of the reading.
type prophecy struct {
	Forecast
	s    Socket
	read span
}

// check holds the forecast against the end that came.
func (p prophecy) check(t *testing.T, end death) {
	t.Helper()
	least, most := end.from.Sub(p.read.to), end.to.Sub(p.read.from)
	if most < p.Earliest-2*userTick || least > p.Latest+precision+end.late { // /proc rounds to ticks
		t.Errorf("given up after %s to %s (timers up to %s late), foretold %s to %s: %s; %+v %+v", least, most, end.late, p.Earliest, p.Latest, p.Why, p.s, p.s.Info)
	}
}

// Each forecast that is made while a connection dies must hold for the moment
// when the kernel really gives it up.
func TestGiveUpComesTrue(t *testing.T) {
	cases := []struct {
		name    string
		sysctls map[string]string
		tune    Tuning
		options func(client end) error
		break_  func(t *testing.T, client, server end, there *netns.NS)
		orphan  bool
		timers  []Timer // that must have been seen
		wantErr error
	}{
		{
			name: "data unanswered", sysctls: map[string]string{"ipv4/tcp_retries2": "3"},
			break_: func(t *testing.T, client, _ end, there *netns.NS) {
				blackhole(t, there)
				client.write(t, "lost")
			},
			timers: []Timer{TimerRetransmit}, wantErr: unix.ETIMEDOUT,
		},
		{
			name: "data unanswered, TCP_USER_TIMEOUT", tune: Tuning{UserTimeout: 2500 * time.Millisecond},
			options: func(client end) error {
				return unix.SetsockoptInt(int(client), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 2500)
			},
			break_: func(t *testing.T, client, _ end, there *netns.NS) {
				blackhole(t, there)
				client.write(t, "lost")
			},
			timers: []Timer{TimerRetransmit}, wantErr: unix.ETIMEDOUT,
		},
		{
			name: "orphan", sysctls: map[string]string{"ipv4/tcp_orphan_retries": "3"},
			break_: func(t *testing.T, client, _ end, there *netns.NS) {
				blackhole(t, there)
				client.write(t, "lost")
				client.close(t)
			},
			orphan: true, timers: []Timer{TimerRetransmit},
		},
		{
			name: "window probes unanswered", sysctls: map[string]string{"ipv4/tcp_retries2": "3"},
			break_: func(t *testing.T, client, _ end, there *netns.NS) {
				client.fill(t)
				blackhole(t, there)
			},
			timers: []Timer{TimerProbe}, wantErr: unix.ETIMEDOUT,
		},
		{
			name: "keepalive unanswered", tune: Tuning{KeepaliveTime: time.Second, KeepaliveInterval: time.Second, KeepaliveProbes: 3},
			options: func(client end) error {
				return errors.Join(
					unix.SetsockoptInt(int(client), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1),
					unix.SetsockoptInt(int(client), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1),
					unix.SetsockoptInt(int(client), unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1),
					unix.SetsockoptInt(int(client), unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3))
			},
			break_: func(t *testing.T, _, _ end, there *netns.NS) { blackhole(t, there) },
			timers: []Timer{TimerKeepalive}, wantErr: unix.ETIMEDOUT,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			here, there := joined(t)
			for name, value := range c.sysctls {
				setSysctl(t, here, name, value)
			}
			sys, err := ReadSysctls(here)
			if err != nil {
				t.Fatal(err)
			}
			l := listen(t, there, netip.AddrPortFrom(thereAddr, testPort))
			client := connect(t, here, netip.AddrPortFrom(thereAddr, testPort))
			server := l.accept(t)
			if c.options != nil {
				if err := c.options(client); err != nil {
					t.Fatal(err)
				}
			}
			d := openDiag(t, here, testPort)
			s := one(t, d, Established, testPort)
			c.break_(t, client, server, there)
			foretold, end := untilGone(t, here, d, s, c.tune, sys)

			if c.orphan {
				await(t, func() error { // it is counted after the socket has gone
					if n := *counters(t, here).TCPAbortOnTimeout; n != 1 {
						return fmt.Errorf("%d connections given up", n)
					}
					return nil
				})
			} else if errno, err := unix.GetsockoptInt(int(client), unix.SOL_SOCKET, unix.SO_ERROR); err != nil || unix.Errno(errno) != c.wantErr {
				t.Errorf("the socket's error is %v, %v", unix.Errno(errno), err)
			}
			seen := make(map[Timer]int)
			retransmits := make(map[uint32]bool)
			for _, p := range foretold {
				seen[p.s.Timer]++
				retransmits[p.s.Retransmits] = true
				p.check(t, end)
			}
			for _, timer := range c.timers {
				if seen[timer] == 0 {
					t.Errorf("never seen with timer %s: %v", timer, seen)
				}
			}
			if len(retransmits) < 3 && end.worst < 200*time.Millisecond { // the shortest time between two
				t.Errorf("forecasts were made at %v retransmissions only", retransmits)
			}
			first, last := foretold[0], foretold[len(foretold)-1]
			t.Logf("%d forecasts came true, timers up to %s late; the first: %s to %s, was %s; the last: %s to %s, was %s", len(foretold), end.late,
				first.Earliest, first.Latest, end.to.Sub(first.read.to), last.Earliest, last.Latest, end.to.Sub(last.read.to))
		})
	}
}

// precision is how late a busy kernel may run its timers.
const precision = 250 * time.Millisecond

// untilGone makes forecasts by inet_diag and from /proc until the socket is
// gone, and returns them with its end. A timer is late at most by what had passed,
// when the socket was read next, since the moment for which it was set.
func untilGone(t *testing.T, ns *netns.NS, d *Diag, s Socket, tune Tuning, sys Sysctls) (foretold []prophecy, end death) {
	t.Helper()
	due := time.Now().Add(time.Hour)
	note := func(s Socket, began time.Time) {
		if f, ok := tune.GiveUp(s, sys); ok {
			foretold = append(foretold, prophecy{f, s, span{began, time.Now()}})
		}
	}
	await(t, func() error {
		began := time.Now()
		if err := d.Lookup(&s); errors.Is(err, ErrGone) {
			end.to = time.Now()
			return nil
		} else if err != nil {
			t.Fatal(err)
		}
		end.from = began
		late := max(0, began.Sub(due))
		end.late, end.worst = end.late+late, max(end.worst, late)
		if due = time.Now().Add(s.TimerIn); s.Timer == TimerOff {
			due = due.Add(time.Hour)
		}
		kept := s
		info := *s.Info
		kept.Info = &info
		note(kept, began)
		began = time.Now()
		rows, _, err := ReadProc(ns.ProcRoot(), d.ports)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if row.Flow == s.Flow {
				note(row, began)
			}
		}
		return fmt.Errorf("%s is still there", s.Flow)
	})
	if len(foretold) == 0 {
		t.Fatal("no forecast was made")
	}
	return foretold, end
}

func TestGiveUpOnAConnectionAttempt(t *testing.T) {
	t.Parallel()
	ns := private(t)
	silence(t, ns)
	setSysctl(t, ns, "ipv4/tcp_syn_retries", "1")
	setSysctl(t, ns, "ipv4/tcp_syn_linear_timeouts", "1")
	sys, err := ReadSysctls(ns)
	if err != nil {
		t.Fatal(err)
	}
	start(t, ns, netip.AddrPortFrom(kinds[0].silent, testPort))
	d := openDiag(t, ns, testPort)
	foretold, end := untilGone(t, ns, d, one(t, d, SynSent, testPort), Tuning{}, sys)
	for _, p := range foretold {
		p.check(t, end)
	}
	t.Logf("%d forecasts came true; the first: %s to %s, was %s", len(foretold), foretold[0].Earliest, foretold[0].Latest, end.to.Sub(foretold[0].read.to))
}
