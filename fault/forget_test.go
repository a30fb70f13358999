package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/middlebox"
)

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
	if _, err := f.Cut(); err != nil {
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

	step, err := f.Hold(nil)
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
		return got[4].Packets >= 4 && got[7].Packets >= 4
	})
	fresh.echo()
	await(t, "all that was sent counted before or after", func() bool {
		c := counted(t, f)
		return toward(c[0], c[2], c[4], c[6]) && from(c[1], c[3], c[5], c[7])
	})

	now := counted(t, f)
	for i, want := range []struct {
		step string
		dir  Direction
		hook string
	}{
		{StepDrop, Toward, "forward"}, {StepDrop, From, "forward"},
		{StepDrop, Toward, "input"}, {StepDrop, From, "input"},
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
	if now[5].Packets != 0 || now[6].Packets != 0 {
		t.Errorf("%+v, %+v: with masquerade the server's packets are the router's own", now[5], now[6])
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
	if last := counted(t, f); last[4].Packets < now[4].Packets {
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
	if _, err := f.Cut(); err != nil {
		t.Fatal(err)
	}
	resets := p.resets(p.router)
	if _, err := f.Hold(nil); err != nil {
		t.Fatal(err)
	}
	await(t, "an event of each deletion", func() bool { return gone.Load() == 100 })
	await(t, "the packets to be dropped", func() bool {
		got := counted(t, f)
		return got[0].Packets+got[4].Packets >= 100 && got[3].Packets+got[7].Packets >= 100 || p.resets(p.router) > resets
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
	c.server.SetReadDeadline(time.Now().Add(60 * time.Second))
	if _, err := c.server.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("server reads %v, want ECONNRESET", err)
	}
	if p.resets(p.router) == resets {
		t.Error("the reset is not the router's")
	}
}

func tuples(entries []middlebox.Entry) []string {
	var s []string
	for _, e := range entries {
		s = append(s, fmt.Sprint(e.ID, e.Orig, e.Reply))
	}
	slices.Sort(s)
	return s
}
