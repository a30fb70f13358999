package sockstate

import (
	"math"
	"testing"
	"time"
)

func TestUnanswered(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	for name, c := range map[string]struct {
		is   Socket
		want time.Duration
		ok   bool
	}{
		"nothing in flight":  {Socket{State: Established, Timer: TimerKeepalive, Retransmits: 2}, 0, false},
		"sent once":          {Socket{State: Established, Timer: TimerRetransmit, Info: &Info{RTO: 200 * ms}}, 0, false},
		"sent again once":    {Socket{State: Established, Timer: TimerRetransmit, TimerIn: 300 * ms, Retransmits: 1, Info: &Info{RTO: 400 * ms, Backoff: 1}}, 100 * ms, true},
		"sent again 6 times": {Socket{State: Established, Timer: TimerRetransmit, TimerIn: 12 * s, Retransmits: 6, Info: &Info{RTO: 12800 * ms, Backoff: 6}}, (400 + 800 + 1600 + 3200 + 6400 + 800) * ms, true},
		"the same in /proc":  {Socket{State: Established, Timer: TimerRetransmit, TimerIn: 12 * s, Retransmits: 6, Proc: &ProcCols{RTO: 12800 * ms, Retransmits: 6}}, (400 + 800 + 1600 + 3200 + 6400 + 800) * ms, true},
		"probed at once":     {Socket{State: Established, Timer: TimerProbe, TimerIn: 150 * ms, Info: &Info{RTO: 200 * ms}}, 50 * ms, true},
		"probed 4 times":     {Socket{State: Established, Timer: TimerProbe, TimerIn: 3 * s, Info: &Info{RTO: 200 * ms, Backoff: 4}}, 3200 * ms, true},
		"probed for long":    {Socket{State: Established, Timer: TimerProbe, TimerIn: 120 * s, Info: &Info{RTO: 200 * ms, Backoff: 11}}, (102400+102200)*ms + 120*s, true},
		"SYN sent once":      {Socket{State: SynSent, Timer: TimerRetransmit, TimerIn: s, Info: &Info{RTO: s}}, 0, false},
		"SYN, linear":        {Socket{State: SynSent, Timer: TimerRetransmit, TimerIn: s, Retransmits: 3, Info: &Info{RTO: s, Backoff: 3}}, 3 * s, true},
		"SYN, doubled":       {Socket{State: SynSent, Timer: TimerRetransmit, TimerIn: 4 * s, Retransmits: 6, Info: &Info{RTO: 4 * s, Backoff: 6}}, 7 * s, true},
		"what no kernel says": {Socket{State: Established, Timer: TimerProbe, TimerIn: math.MinInt64, Retransmits: math.MaxUint32,
			Info: &Info{RTO: math.MaxInt64, Backoff: 255}}, 0, true},
	} {
		got, ok := Unanswered(c.is, Sysctls{})
		if name == "what no kernel says" {
			if got < 0 || got > time.Hour*24 {
				t.Errorf("%s: %s", name, got)
			}
			continue
		}
		if got != c.want || ok != c.ok {
			t.Errorf("%s: %s, %t; want %s, %t", name, got, ok, c.want, c.ok)
		}
	}
}
