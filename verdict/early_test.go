package verdict

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"halfopen/flow"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// rounds are the retransmissions of a segment on a fast path: the RTO is 200 ms
// and doubles.
const rounds = 10

const rto = 200 * time.Millisecond

// unanswered is the connection's socket at the k-th retransmission of the last of n
// segments, of which so many were sent again before.
func unanswered(k, n, before int) sockstate.Socket {
	since := rto * (1<<k - 1)
	return sockstate.Socket{
		Flow: flow.New(shipper, receiver), Cookie: 1,
		State: sockstate.Established, Timer: sockstate.TimerRetransmit, SendQ: 900, Retransmits: uint32(k),
		Info: &sockstate.Info{LastAckRecv: since, RTO: rto << k, Backoff: uint8(k), DataSegsOut: sockstate.Some(uint32(n + before + k)), TotalRetrans: uint32(before + k)},
	}
}

// overdue is the same socket when an answer must have come.
func overdue(k sockstate.Socket) sockstate.Socket {
	k.Info.LastDataSent = rto
	k.Info.LastAckRecv += rto
	return k
}

// Packets lost at random, however many, are never called an outage; an end of all
// answers is, by the third retransmission on a path that lost nothing.
func TestOutageAgainstChance(t *testing.T) {
	th := Defaults()
	for _, loss := range []float64{0.001, 0.01, 0.05, 0.2, 0.5} {
		dice := rand.New(rand.NewPCG(7, uint64(loss*1000)))
		lost := func() bool { there, back := dice.Float64(), dice.Float64(); return min(there, back) < loss } // the segment, or its ACK
		again := 0
		for n := 1; n <= 200_000; n++ {
			for k := 0; lost() && k < rounds; k++ {
				again++
				now := unanswered(k+1, n, again-k-1)
				_, early := th.outage(now)
				if why, ok := th.outage(overdue(now)); early || ok && lost() {
					t.Fatalf("loss of %v: segment %d called an outage at its retransmission %d: %s", loss, n, k+1, why)
				}
			}
		}
		if again == 0 {
			t.Fatalf("loss of %v: nothing was lost", loss)
		}
	}
	for _, tt := range []struct{ n, before, at int }{{50, 0, 3}, {2000, 0, 3}, {2000, 20, 3}, {2000, 200, 6}, {5, 0, 8}} {
		k := 1
		for ; k <= rounds; k++ {
			if _, ok := th.outage(overdue(unanswered(k, tt.n, tt.before))); ok {
				break
			}
		}
		if k != tt.at {
			t.Errorf("%d segments, %d sent again: known at retransmission %d, want %d", tt.n, tt.before, k, tt.at)
		}
	}
}

// What is missing, or can't be, is no outage.
func TestOutageUnknown(t *testing.T) {
	for name, spoil := range map[string]func(*sockstate.Socket){
		"nothing":             func(k *sockstate.Socket) {},
		"no tcp_info":         func(k *sockstate.Socket) { k.Info = nil },
		"old kernel":          func(k *sockstate.Socket) { k.Info.DataSegsOut = sockstate.Opt[uint32]{} },
		"closing":             func(k *sockstate.Socket) { k.State = sockstate.FinWait1 },
		"a probe":             func(k *sockstate.Socket) { k.Timer = sockstate.TimerProbe },
		"an ACK just now":     func(k *sockstate.Socket) { k.Info.LastAckRecv = time.Second },
		"fewer than answered": func(k *sockstate.Socket) { k.Info.DataSegsOut = sockstate.Some[uint32](2) },
		"counters disagree":   func(k *sockstate.Socket) { k.Info.TotalRetrans = 0 },
	} {
		k := unanswered(4, 3000, 0)
		spoil(&k)
		if _, ok := Defaults().outage(k); ok != (name == "nothing") {
			t.Errorf("%s: outage %v", name, ok)
		}
	}
}

// A silence is told once, and its end; a connection that is gone has none.
func TestOutages(t *testing.T) {
	o := Outages{Thresholds: Defaults()}
	said := func(socks ...sockstate.Socket) (list []string) {
		for _, n := range o.Add(socks) {
			list = append(list, n.Text)
		}
		return list
	}
	well := unanswered(0, 2000, 0)
	steps := []struct {
		socks []sockstate.Socket
		want  string
	}{
		{[]sockstate.Socket{well}, ""},
		{[]sockstate.Socket{unanswered(2, 2000, 0)}, ""},
		{[]sockstate.Socket{unanswered(3, 2000, 0)}, "900 bytes in flight, sent again 3 times, and no ACK for 1.4s"},
		{[]sockstate.Socket{unanswered(4, 2000, 0)}, ""},
		{[]sockstate.Socket{unanswered(5, 2000, 0)}, ""},
		{[]sockstate.Socket{well}, "ACKs come again, after 6.2s or a little more"},
		{[]sockstate.Socket{unanswered(4, 2000, 0)}, "no ACK for 3s"},
		{nil, ""},
		{[]sockstate.Socket{well}, ""},
	}
	for i, s := range steps {
		got := strings.Join(said(s.socks...), "; ")
		if (s.want == "") != (got == "") || !strings.Contains(got, s.want) {
			t.Errorf("step %d: %q, want %q", i, got, s.want)
		}
	}
}

// Of a connection that had nothing to send for an hour, the last ACK is an hour old
// when its first packet is lost: that is no silence of an hour.
func TestSilenceAfterIdle(t *testing.T) {
	k := unanswered(1, 2000, 0)
	k.TimerIn, k.Info.LastAckRecv = 300*time.Millisecond, time.Hour
	j := &judge{run: &run{header: &timeline.Header{}}, th: Defaults()}
	if class, why := j.retransmitting(k); class != Unknown {
		t.Errorf("class %s: %s", class, why)
	}
	if _, ok := Defaults().outage(k); ok {
		t.Error("called an outage")
	}
	k = unanswered(6, 2000, 0)
	k.TimerIn, k.Info.LastAckRecv = time.Second, time.Hour
	if class, why := j.retransmitting(k); class != HalfOpen {
		t.Errorf("class %s: %s", class, why)
	}
}
