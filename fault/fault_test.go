package fault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/middlebox"
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

func TestDropBothCountsWhatWasReallySent(t *testing.T) {
	p := newPath(t)
	f := p.fault()
	c := p.dial()
	if got := counted(t, f); len(got) != 0 {
		t.Errorf("counters before the first rule: %+v", got)
	}
	toward, from := account(t, c)
	resets := p.resets(p.router) + p.resets(p.client) + p.resets(p.server)

	step, err := f.DropBoth()
	if err != nil {
		t.Fatal(err)
	}
	checkStep(t, step, StepDrop, 2)
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
	if s.Mono <= 0 || s.Mono > boottime() || s.Known == "" || len(s.Rules) != rules {
		t.Errorf("step %+v: want a monotonic time, a reason and %d rules", s, rules)
	}
}

func TestForget(t *testing.T) {
	for _, loose := range []string{"1", "0"} {
		t.Run("nf_conntrack_tcp_loose="+loose, func(t *testing.T) { testForget(t, loose) })
	}
}

func testForget(t *testing.T, loose string) {
	p := newPath(t)
	p.must(p.router.Do(func() error {
		return os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_tcp_loose", []byte(loose), 0)
	}))
	f := p.fault()
	old := []*pair{p.dial(), p.dial()}
	toward, from := account(t, old...)
	if _, err := f.DropBoth(); err != nil {
		t.Fatal(err)
	}
	for _, c := range old {
		c.write()
	}
	await(t, "dropped packets both ways", func() bool {
		got := counted(t, f)
		return got[0].Packets >= 4 && got[1].Packets >= 4
	})
	entries, err := p.conntrack.List()
	if err != nil {
		t.Fatal(err)
	}
	resets := p.resets(p.router)

	step, err := f.Forget()
	if err != nil {
		t.Fatal(err)
	}
	checkStep(t, step, StepForget, 4)
	if got, want := tuples(step.Deleted), tuples(entries); len(want) != 2 || !slices.Equal(got, want) {
		t.Errorf("deleted %v, want the two entries %v", got, want)
	}
	atForget := counted(t, f)

	fresh := p.dial()
	if got := ends(fresh.server).Remote.Addr(); got != routerAddr.Addr() {
		t.Errorf("server sees %s, want the router's address %s", got, routerAddr.Addr())
	}
	for _, c := range old {
		c.server.Write(make([]byte, 100))
	}
	await(t, "both ends of the old connections to try again", func() bool {
		got := counted(t, f)
		return got[2].Packets >= 4 && got[5].Packets >= 4
	})
	fresh.echo()
	await(t, "all that was sent counted before or after", func() bool {
		c := counted(t, f)
		return toward(c[0], c[2], c[4]) && from(c[1], c[3], c[5])
	})

	now := counted(t, f)
	for i, want := range []struct {
		step string
		dir  Direction
		hook string
	}{
		{StepDrop, Toward, "forward"}, {StepDrop, From, "forward"},
		{StepForget, Toward, "forward"}, {StepForget, From, "forward"},
		{StepForget, Toward, "input"}, {StepForget, From, "input"},
	} {
		c := now[i]
		if c.Step != want.step || c.Direction != want.dir || !strings.Contains(c.Rule, " "+want.hook+" ") {
			t.Errorf("counter %d is %+v, want %+v", i, c, want)
		}
		if c.Step == StepDrop && c != atForget[i] {
			t.Errorf("counter of a rule that is gone went on from %+v to %+v", atForget[i], c)
		}
	}
	if now[3].Packets != 0 || now[4].Packets != 0 {
		t.Errorf("%+v, %+v: with masquerade the server's packets are the router's own", now[3], now[4])
	}
	left, err := p.conntrack.List()
	if err != nil || len(left) != 1 || left[0].Orig != fresh.flow() {
		t.Errorf("entries %v, %v; want that of the new connection alone", tuples(left), err)
	}
	for _, c := range old {
		if a, b := info(t, c.client), info(t, c.server); a.State != established || b.State != established {
			t.Errorf("states %d and %d, want ESTABLISHED at both ends", a.State, b.State)
		}
	}
	if got := p.resets(p.router); got != resets {
		t.Errorf("the router sent %d RSTs", got-resets)
	}

	if err := f.Undo(); err != nil {
		t.Fatal(err)
	}
	if last := counted(t, f); last[2].Packets < now[2].Packets {
		t.Errorf("counters after undo %+v, before %+v", last, now)
	}
	if got := p.tables(); !slices.Equal(got, []string{"nat"}) {
		t.Errorf("tables %v after undo", got)
	}
	p.dial()
}

// What comes while the entries are being deleted is neither answered nor let
// through: the rules in the input hook come before the first deletion, those in
// the forward hook after the last.
func TestForgetIsSilentWhileItDeletes(t *testing.T) {
	p := newPath(t)
	f := p.fault()
	ctx, cancel := context.WithCancel(t.Context())
	watching, watched := make(chan struct{}), make(chan error, 1)
	var old sync.Map // *pair by flow
	var gone atomic.Uint64
	go func() {
		watched <- p.conntrack.Watch(ctx, func(e middlebox.Event) {
			if e.Kind == middlebox.Watching {
				close(watching)
			}
			if e.Kind != middlebox.Destroy {
				return
			}
			c, ok := old.Load(e.Entry.Orig)
			if !ok {
				return
			}
			c.(*pair).server.Write([]byte("x")) // what comes of it shows below
			if gone.Add(1) == 1 {
				old.Range(func(_, c any) bool { c.(*pair).client.Write([]byte("x")); return true })
			}
		})
	}()
	<-watching
	for range 100 {
		c := p.dial()
		old.Store(c.flow(), c)
	}
	if _, err := f.DropBoth(); err != nil {
		t.Fatal(err)
	}
	resets := p.resets(p.router)
	if _, err := f.Forget(); err != nil {
		t.Fatal(err)
	}
	await(t, "an event of each deletion", func() bool { return gone.Load() == 100 })
	await(t, "the packets to be dropped", func() bool {
		got := counted(t, f)
		return got[0].Packets+got[2].Packets >= 100 && got[5].Packets >= 100 || p.resets(p.router) > resets
	})
	if got := p.resets(p.router); got != resets {
		t.Errorf("the router sent %d RSTs", got-resets)
	}
	old.Range(func(_, c any) bool {
		if got := info(t, c.(*pair).server).Bytes_received; got != 1 {
			t.Errorf("%d bytes came through, want the one of before", got)
		}
		return true
	})
	cancel()
	p.must(<-watched)
}

// The rules in the input hook have a reason, and the counter of RSTs sees it.
func TestWithoutTheFaultTheRouterAnswersReset(t *testing.T) {
	p := newPath(t)
	c := p.dial()
	entries, err := p.conntrack.List()
	if err != nil || len(entries) != 1 {
		t.Fatalf("entries %v, %v", entries, err)
	}
	if err := p.conntrack.Delete(entries[0]); err != nil {
		t.Fatal(err)
	}
	resets := p.resets(p.router)
	if _, err := c.server.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	c.server.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.server.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("server reads %v, want ECONNRESET", err)
	}
	if got := p.resets(p.router); got != resets+1 {
		t.Errorf("the router sent %d RSTs, want 1", got-resets)
	}
}

func TestUndoIsFinalAndIdempotent(t *testing.T) {
	p := newPath(t)
	f := p.fault()
	if _, err := f.Forget(); !errors.Is(err, ErrOrder) {
		t.Errorf("forget as first step: %v, want ErrOrder", err)
	}
	if _, err := f.DropBoth(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.DropBoth(); !errors.Is(err, ErrOrder) {
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
	for _, do := range []func() (Step, error){f.DropBoth, f.Forget} {
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
		"no ports": {NS: p.router},
		"no hook":  {NS: p.router, Ports: flow.NewPorts(port), Hook: 99},
	} {
		if f, err := Open(cfg); err == nil {
			t.Errorf("%s: %v, want an error", name, f)
		}
	}
	f, err := Open(Config{NS: p.router, Ports: flow.NewPorts(port)})
	p.must(err)
	defer f.Close()
	if _, err := f.DropBoth(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Forget(); err == nil || errors.Is(err, ErrOrder) {
		t.Errorf("forget without conntrack: %v", err)
	}
}

// A kernel before 5.12 refuses the owner flag as this one refuses an unknown flag.
func TestKernelWithoutOwners(t *testing.T) {
	p := newPath(t)
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: p.router.FD()})
	p.must(err)
	defer socket.Close()
	if err := create(socket, "halfopen-test", 1<<7); !errors.Is(err, ErrNoOwner) {
		t.Errorf("unknown flag: %v, want ErrNoOwner", err)
	}
}

func TestTwoFaultsAtOnce(t *testing.T) {
	p := newPath(t)
	foreign := p.foreign()
	first := p.fault()
	second, err := Open(Config{NS: p.router, Ports: flow.NewPorts(port+1, port+2)})
	p.must(err)
	defer second.Close()
	var wg sync.WaitGroup
	for _, f := range []*Fault{first, second} {
		wg.Go(func() {
			if _, err := f.DropBoth(); err != nil {
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
	if got := counted(t, second); got[0].Packets+got[1].Packets != 0 {
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

func tuples(entries []middlebox.Entry) []string {
	var s []string
	for _, e := range entries {
		s = append(s, fmt.Sprint(e.ID, e.Orig, e.Reply))
	}
	slices.Sort(s)
	return s
}
