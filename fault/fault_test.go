package fault

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/clock"
	"halfopen/flow"
)

// established is TCP_ESTABLISHED, include/net/tcp_states.h.
const established = 1

// segmentHeaders is IPv4 and TCP with timestamps (RFC 7323), in bytes.
const segmentHeaders = 20 + 20 + 12

// account returns functions that report whether counters together have exactly
// what the clients, or the servers, have sent since: retransmissions included.
func account(t *testing.T, pairs ...*pair) (toward, from func(...Counter) bool) {
	t.Helper()
	since := func(end func(*pair) *net.TCPConn) func(...Counter) bool {
		var before []*unix.TCPInfo
		for _, c := range pairs {
			before = append(before, info(t, end(c)))
		}
		return func(counters ...Counter) bool {
			t.Helper()
			var got Counter
			for _, c := range counters {
				got.Packets += c.Packets
				got.Bytes += c.Bytes
			}
			var packets, bytes uint64
			for i, c := range pairs {
				now := info(t, end(c))
				n := uint64(now.Segs_out - before[i].Segs_out)
				packets += n
				bytes += now.Bytes_sent - before[i].Bytes_sent + n*segmentHeaders
			}
			if got.Packets > packets {
				t.Fatalf("%d packets counted, %d sent", got.Packets, packets)
			}
			return got.Packets == packets && got.Bytes == bytes
		}
	}
	await(t, "the last ACK to arrive", func() bool { // a delayed one would be dropped and counted
		return !slices.ContainsFunc(pairs, func(c *pair) bool {
			return info(t, c.client).Unacked+info(t, c.server).Unacked > 0
		})
	})
	return since(func(c *pair) *net.TCPConn { return c.client }), since(func(c *pair) *net.TCPConn { return c.server })
}

func counted(t *testing.T, f *Fault) []Counter {
	t.Helper()
	c, err := f.Counters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCutCountsWhatWasReallySent(t *testing.T) {
	p := newPath(t)
	f := p.fault()
	c := p.dial()
	if got := counted(t, f); len(got) != 0 {
		t.Errorf("counters before the first rule: %+v", got)
	}
	toward, from := account(t, c)
	resets := p.resets(p.router) + p.resets(p.client) + p.resets(p.server)

	step, err := f.Cut()
	if err != nil {
		t.Fatal(err)
	}
	checkStep(t, step, StepDrop, 4)
	c.write()
	await(t, "three retransmissions each way", func() bool {
		return info(t, c.client).Total_retrans >= 3 && info(t, c.server).Total_retrans >= 3
	})
	await(t, "counters equal to what was sent", func() bool {
		got := counted(t, f)
		return got[0].Direction == Toward && toward(got[0]) && got[1].Direction == From && from(got[1])
	})
	if _, err := p.tryDial(300 * time.Millisecond); err == nil {
		t.Error("a new connection passed")
	}
	for _, conn := range []*unix.TCPInfo{info(t, c.client), info(t, c.server)} {
		if conn.State != established {
			t.Errorf("state %d, want ESTABLISHED", conn.State)
		}
	}
	if got := p.resets(p.router) + p.resets(p.client) + p.resets(p.server); got != resets {
		t.Errorf("%d RSTs were sent", got-resets)
	}

	if err := f.Undo(); err != nil {
		t.Fatal(err)
	}
	for conn, want := range map[*net.TCPConn]int{c.server: clientBytes, c.client: serverBytes} {
		conn.SetReadDeadline(time.Now().Add(time.Minute)) // the retransmission timer has doubled a few times
		if n, err := conn.Read(make([]byte, 500)); n != want {
			t.Errorf("after undo: read %d bytes, %v; want the %d that were held up", n, err, want)
		}
	}
	p.dial()
}

func checkStep(t *testing.T, s Step, name string, rules int) {
	t.Helper()
	now := time.Now()
	if s.Name != name || s.Start.After(s.End) || s.End.After(now) || now.Sub(s.Start) > time.Minute || s.Took != s.End.Sub(s.Start) {
		t.Errorf("step %+v: want %s, just now", s, name)
	}
	if s.Mono <= 0 || s.Mono > clock.Mono() || s.Known == "" || len(s.Rules) != rules {
		t.Errorf("step %+v: want a monotonic time, a reason and %d rules", s, rules)
	}
}

func TestUndoIsFinalAndIdempotent(t *testing.T) {
	p := newPath(t)
	f := p.fault()
	if _, err := f.Hold(nil); !errors.Is(err, ErrOrder) {
		t.Errorf("forget as first step: %v, want ErrOrder", err)
	}
	if _, err := f.Cut(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Cut(); !errors.Is(err, ErrOrder) {
		t.Errorf("drop again: %v, want ErrOrder", err)
	}
	for range 2 {
		if err := f.Undo(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, do := range []func() (Step, error){f.Cut, f.Pass, func() (Step, error) { return f.Hold(nil) }} {
		if step, err := do(); !errors.Is(err, ErrOrder) {
			t.Errorf("after undo: %+v, %v; want ErrOrder", step, err)
		}
	}
	if w := f.Window("m"); len(w.Steps) != 2 || w.Steps[1].Name != StepUndo {
		t.Errorf("steps %+v, want drop and one undo", w.Steps)
	}
	if got := p.tables(); !slices.Equal(got, []string{"nat"}) {
		t.Errorf("tables %v", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	p := newPath(t)
	for name, cfg := range map[string]Config{
		"no method":       {NS: p.router, Ports: ports},
		"no ports":        {NS: p.router, Method: Local},
		"no hook":         {NS: p.router, Method: Local, Ports: ports, Hook: "sideways"},
		"no conntrack":    {NS: p.router, Method: Transient, Ports: ports},
		"all forgotten":   {NS: p.router, Method: Transient, Everything: true, Conntrack: p.conntrack},
		"no room there":   {NS: p.router, Method: ZeroWindow, Ports: ports, Hook: HookInterface, Interface: "in"},
		"no interface":    {NS: p.router, Method: Link, Ports: ports},
		"forgotten there": {NS: p.router, Method: Transient, Ports: ports, Conntrack: p.conntrack, Hook: HookInterface, Interface: "in"},
		"which interface": {NS: p.router, Method: Transient, Ports: ports, Conntrack: p.conntrack, Interface: "in"},
		"loss":            {NS: p.router, Method: Local, Ports: ports, Loss: 1.5},
		"little loss":     {NS: p.router, Method: Local, Ports: ports, Loss: 1e-6},
		"no idle time":    {NS: p.router, Method: Idle, Ports: ports, Conntrack: p.conntrack},
		"idle for a part": {NS: p.router, Method: Idle, Ports: ports, Conntrack: p.conntrack, Idle: 1500 * time.Millisecond},
		"not there":       {NS: p.router, Method: Link, Ports: ports, Interface: "eth9"},
	} {
		if f, err := Open(cfg); err == nil {
			t.Errorf("%s: %v, want an error", name, f)
		}
	}
	if got := p.tables(); !slices.Equal(got, []string{"nat"}) {
		t.Errorf("tables %v are left", got)
	}
}

// A kernel before 5.12 refuses the owner flag as this one refuses an unknown flag.
func TestKernelWithoutOwners(t *testing.T) {
	p := newPath(t)
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: p.router.FD()})
	p.must(err)
	defer socket.Close()
	if err := create(socket, &nftables.Table{Name: "halfopen-test", Family: nftables.TableFamilyINet}, 1<<7); !errors.Is(err, ErrNoOwner) {
		t.Errorf("unknown flag: %v, want ErrNoOwner", err)
	}
}

func TestTwoFaultsAtOnce(t *testing.T) {
	p := newPath(t)
	foreign := p.foreign()
	first := p.fault()
	second, err := Open(Config{NS: p.router, Method: Local, Hook: HookForward, Ways: Both, Ports: flow.NewPorts(port+1, port+2)})
	p.must(err)
	defer second.Close()
	var wg sync.WaitGroup
	for _, f := range []*Fault{first, second} {
		wg.Go(func() {
			if _, err := f.Cut(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := p.tables(); len(got) != 3 {
		t.Errorf("tables %v, want two faults and nat", got)
	}
	if err := first.Undo(); err != nil {
		t.Fatal(err)
	}
	p.dial() // the second fault is on other ports
	if got := counted(t, second); got[0].Packets+got[1].Packets+got[2].Packets+got[3].Packets != 0 {
		t.Errorf("the second fault dropped packets of the first: %+v", got)
	}
	if err := second.Undo(); err != nil {
		t.Fatal(err)
	}
	if got := p.foreign(); got != foreign {
		t.Errorf("foreign rules were\n%s and are\n%s", foreign, got)
	}
}

func TestNobodyElseCanRemoveTheTable(t *testing.T) {
	p := newPath(t)
	f := p.fault()
	c, err := nftables.New(nftables.WithNetNSFd(p.router.FD()))
	p.must(err)
	c.DelTable(f.table.Table)
	if err := c.Flush(); !errors.Is(err, unix.EPERM) {
		t.Errorf("foreign delete: %v, want EPERM", err)
	}
}

// foreign is the rule of the table "nat" in words, without its counter.
func (p *path) foreign() string {
	p.t.Helper()
	c, err := nftables.New(nftables.WithNetNSFd(p.router.FD()))
	p.must(err)
	rules, err := c.GetRules(&nftables.Table{Name: "nat", Family: nftables.TableFamilyIPv4}, &nftables.Chain{Name: "postrouting"})
	p.must(err)
	var text strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&text, "handle %d:", r.Handle)
		for _, e := range r.Exprs {
			fmt.Fprintf(&text, " %T", e)
		}
	}
	return text.String()
}
