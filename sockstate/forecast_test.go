package sockstate

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func ptr[T any](v T) *T { return &v }

// Documentation/networking/ip-sysctl.rst names some of these sums.
func TestModelTimeout(t *testing.T) {
	for _, c := range []struct {
		boundary    int
		base, limit time.Duration
		want        time.Duration
	}{
		{15, rtoMin, rtoMax, 924600 * time.Millisecond},
		{9, rtoMin, rtoMax, 204600 * time.Millisecond},
		{8, rtoMin, rtoMax, 102200 * time.Millisecond},
		{3, rtoMin, rtoMax, 3 * time.Second},
		{0, rtoMin, rtoMax, 200 * time.Millisecond},
		{6, rtoInit, rtoMax, 127 * time.Second},
		{10, rtoMin, time.Second, 1400*time.Millisecond + 8*time.Second},
	} {
		if got := modelTimeout(c.boundary, c.base, c.limit); got != c.want {
			t.Errorf("%d retries from %s to %s: %s, want %s", c.boundary, c.base, c.limit, got, c.want)
		}
	}
}

func TestLatenessIsTheWidthOfABucket(t *testing.T) {
	const tick = 4 * time.Millisecond // HZ = 250
	for _, c := range []struct{ d, want time.Duration }{
		{200 * time.Millisecond, 2 * tick},
		{63 * tick, 9 * tick},
		{503 * tick, 9 * tick},
		{504 * tick, 65 * tick},
		{120 * time.Second, 513 * tick},
	} {
		if got := lateness(c.d, tick); got != c.want {
			t.Errorf("%s: late by up to %s, want %s", c.d, got, c.want)
		}
	}
	// Without the tick, no tick rate's timers are later.
	for _, hz := range []time.Duration{100, 250, 300, 1000} {
		for d := time.Millisecond; d < 3*time.Hour; d += d/7 + 1 {
			if got, most := lateness(d, time.Second/hz), lateness(d, 0); got > most+time.Second/hz {
				t.Fatalf("HZ %d, %s: late by up to %s, without tick %s", hz, d, got, most)
			}
		}
	}
}

// within is a forecast's bounds, and how far they may be from the truth.
type within struct{ least, most time.Duration }

func TestGiveUp(t *testing.T) {
	sys := Sysctls{Tick: 4 * time.Millisecond}
	retransmit := func(n uint32, rto, in time.Duration) Socket {
		return Socket{
			State: Established, Inode: 1, Timer: TimerRetransmit, TimerIn: in, Retransmits: n,
			Info: &Info{RTO: rto, Backoff: uint8(n), RTT: time.Millisecond, RTTVar: time.Millisecond, SndWnd: Some(uint32(64 << 10))},
		}
	}
	orphan := retransmit(1, 402*time.Millisecond, 402*time.Millisecond)
	orphan.State, orphan.Inode = FinWait1, 0
	shrunk := retransmit(0, 300*time.Millisecond, 100*time.Millisecond)
	shrunk.Info.SndWnd, shrunk.Info.LastAckRecv = Some(uint32(0)), 50*time.Second
	fromProc := retransmit(8, 51456*time.Millisecond, 46*time.Second)
	fromProc.Info, fromProc.Proc = nil, &ProcCols{RTO: 51450 * time.Millisecond}
	keepalive := Socket{State: Established, Inode: 1, Timer: TimerKeepalive, TimerIn: 5 * time.Second, Retransmits: 2}

	cases := []struct {
		name string
		s    Socket
		sys  Sysctls
		tune Tuning
		want within // the truth, the timers never late
		why  string
	}{
		{
			// 0.201 s, then 0.402 … 102.9 s and six of 120 s: measured, 938 s.
			"nothing sent again yet", retransmit(0, 201*time.Millisecond, 201*time.Millisecond), sys,
			Tuning{}, within{926 * time.Second, 938 * time.Second}, "tcp_retries2 = 15",
		},
		{
			// The first retransmission was 0.402 (2^7 - 1) = 51.1 s ago: 873.5 s are left,
			// and the timer fires after 51.5, 102.9 and six times 120 s.
			"8 retransmissions", retransmit(8, 51456*time.Millisecond, 51456*time.Millisecond), sys,
			Tuning{}, within{874370 * time.Millisecond, 874370 * time.Millisecond}, "8 retransmissions",
		},
		{
			"5.45 s later, from /proc", fromProc, sys,
			Tuning{}, within{868900 * time.Millisecond, 868900 * time.Millisecond}, "8 retransmissions",
		},
		{
			// From an RTO of 201 ms, the first was 205.4 + 3 × 120 s ago; from 402 ms, 120 s longer.
			"RTO at its limit", retransmit(13, rtoMax, rtoMax), sys,
			Tuning{}, within{240 * time.Second, 360 * time.Second}, "13 retransmissions",
		},
		{
			"few retries", retransmit(1, 402*time.Millisecond, 402*time.Millisecond), Sysctls{Retries2: ptr(3), Tick: sys.Tick},
			Tuning{}, within{6030 * time.Millisecond, 6030 * time.Millisecond}, "tcp_retries2 = 3",
		},
		{
			"orphan: 8 retries, 102.2 s", orphan, sys,
			Tuning{}, within{102510 * time.Millisecond, 102510 * time.Millisecond}, "8 orphan retries",
		},
		{
			"TCP_USER_TIMEOUT", retransmit(1, 402*time.Millisecond, 402*time.Millisecond), sys,
			Tuning{UserTimeout: 30 * time.Second}, within{30 * time.Second, 30 * time.Second}, "TCP_USER_TIMEOUT",
		},
		{"window taken back", shrunk, sys, Tuning{}, within{76300 * time.Millisecond, 273100 * time.Millisecond}, "last ACK"},
		{
			"SYN, linear first: 131 s in all", Socket{State: SynSent, Timer: TimerRetransmit, TimerIn: time.Second, Inode: 1, Info: &Info{RTO: time.Second}},
			Sysctls{SynLinearTimeouts: ptr(4), Tick: sys.Tick}, Tuning{}, within{131 * time.Second, 131 * time.Second}, "10 times",
		},
		{
			"SYN before 6.5: 127 s in all", Socket{State: SynSent, Timer: TimerRetransmit, TimerIn: time.Second, Inode: 1, Info: &Info{RTO: time.Second}},
			sys, Tuning{}, within{127 * time.Second, 127 * time.Second}, "6 times",
		},
		{
			// 0.4, 0.8 … 102.4 s, then 120 s: 15 firings after the first.
			"probes", Socket{State: Established, Inode: 1, Timer: TimerProbe, TimerIn: 200 * time.Millisecond, Info: &Info{RTO: 200 * time.Millisecond}},
			sys, Tuning{}, within{924600 * time.Millisecond, 924600 * time.Millisecond}, "15 probes",
		},
		{
			"keepalive, settings known", keepalive, sys,
			Tuning{KeepaliveTime: time.Minute, KeepaliveInterval: 10 * time.Second, KeepaliveProbes: 5}, within{35 * time.Second, 35 * time.Second},
			"5 probes 10s apart after 1m0s of silence",
		},
		{"keepalive, Go's or the namespace's", keepalive, sys, Tuning{}, within{110 * time.Second, 530 * time.Second}, "not exported"},
		{
			"TIME_WAIT", Socket{State: TimeWait, Timer: TimerTimeWait, TimerIn: 20 * time.Second}, sys,
			Tuning{}, within{20 * time.Second, 20 * time.Second}, "TIME_WAIT",
		},
	}
	for _, c := range cases {
		f, ok := c.tune.GiveUp(c.s, c.sys)
		if !ok {
			t.Errorf("%s: no forecast", c.name)
			continue
		}
		// Bounds hold the truth, and stand off no further than timers can be late.
		slack := lateness(c.want.most, 0)
		if f.Earliest > c.want.least || f.Earliest < c.want.least-slack || f.Latest < c.want.most || f.Latest > c.want.most+slack+lateness(c.s.TimerIn, 0) {
			t.Errorf("%s: from %s to %s, want from %s to %s", c.name, f.Earliest, f.Latest, c.want.least, c.want.most)
		}
		if f.Next != c.s.TimerIn || !strings.Contains(f.Why, c.why) {
			t.Errorf("%s: next in %s, since %q; want %q", c.name, f.Next, f.Why, c.why)
		}
	}
}

func TestGiveUpHasNoForecast(t *testing.T) {
	for _, s := range []Socket{
		{State: Established, Timer: TimerOff, Inode: 1},
		{State: Listen},
		{State: SynRecv, Timer: TimerRetransmit},
		{State: FinWait2, Timer: TimerKeepalive},
		{State: Established, Timer: 9},
	} {
		if f, ok := GiveUp(s, Sysctls{}); ok {
			t.Errorf("%s, timer %s: %+v", s.State, s.Timer, f)
		}
	}
}

// Whatever a recording says, there is an answer in time, and its bounds are in
// order.
func TestGiveUpOnAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(-1e9, 1e13).Draw(t, "ns"))
		})
		s := Socket{
			State: State(rapid.Uint8Range(0, 13).Draw(t, "state")), Timer: Timer(rapid.Uint8Range(0, 5).Draw(t, "timer")),
			TimerIn: times.Draw(t, "in"), Retransmits: rapid.Uint32().Draw(t, "retransmits"), Inode: rapid.Uint32Range(0, 1).Draw(t, "inode"),
		}
		if rapid.Bool().Draw(t, "info") {
			s.Info = &Info{
				RTO: times.Draw(t, "rto"), Backoff: rapid.Uint8().Draw(t, "backoff"), RTT: times.Draw(t, "rtt"), RTTVar: times.Draw(t, "rttvar"),
				SndWnd: Opt[uint32]{OK: rapid.Bool().Draw(t, "shrunk")}, LastAckRecv: times.Draw(t, "ack"), LastDataRecv: times.Draw(t, "data"),
			}
		}
		number := rapid.Ptr(rapid.Int(), true)
		span := rapid.Ptr(times, true)
		sys := Sysctls{
			Retries2: number.Draw(t, "retries2"), OrphanRetries: number.Draw(t, "orphan"), SynRetries: number.Draw(t, "syn"),
			SynLinearTimeouts: number.Draw(t, "linear"), RTOMin: span.Draw(t, "min"), RTOMax: span.Draw(t, "max"),
			KeepaliveProbes: number.Draw(t, "probes"), Tick: times.Draw(t, "tick"),
		}
		f, ok := Tuning{UserTimeout: max(0, times.Draw(t, "user"))}.GiveUp(s, sys)
		if ok && (f.Earliest > f.Latest || f.Why == "") {
			t.Fatalf("%+v", f)
		}
	})
}
