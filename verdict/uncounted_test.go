package verdict

import (
	"strings"
	"testing"
	"time"

	"halfopen/sockstate"
	"halfopen/timeline"
)

// A plain pair without counters: what its sockets show is told.
func TestUncounted(t *testing.T) {
	w := newWire(t, "a shipper", "z receiver")
	near, far := wireNear, wireFar
	for s := range 60 {
		k := sockstate.Socket{Inode: 7, State: sockstate.Established, Info: &sockstate.Info{LastAckRecv: 50 * time.Millisecond, LastDataRecv: 50 * time.Millisecond, RTO: 200 * time.Millisecond, BytesReceived: sockstate.Some(uint64(6 * s))}}
		k.Local, k.Remote, k.Cookie = near, far, 1
		if s >= 10 && s < 30 {
			silent := time.Duration(s-9) * time.Second
			k.SendQ, k.Timer, k.Retransmits = 300, sockstate.TimerRetransmit, 5
			k.Info.LastAckRecv, k.Info.LastDataRecv, k.Info.Backoff, k.Info.Retransmits, k.Info.RTO = silent, silent, 5, 5, 6*time.Second
		}
		other := sockstate.Socket{Inode: 8, State: sockstate.Established, RecvQ: uint32(300 * s), Info: &sockstate.Info{BytesReceived: sockstate.Some(uint64(1000 + 300*s))}}
		other.Local, other.Remote, other.Cookie = far, near, 2
		w.put(timeline.Body{Sockets: &timeline.Sockets{At: "a", Readings: 1, Sockets: []sockstate.Socket{k}}})
		w.records[len(w.records)-1].Mono += time.Duration(s) * time.Second
		w.put(timeline.Body{Sockets: &timeline.Sockets{At: "z", Readings: 1, Sockets: []sockstate.Socket{other}}})
		w.records[len(w.records)-1].Mono += time.Duration(s) * time.Second
	}
	w.put(timeline.Body{End: &timeline.End{Reason: timeline.EndDone}})
	w.records[len(w.records)-1].Mono += time.Minute
	v := Judge(&timeline.Recording{Path: "x", Records: w.records}, Defaults())
	var all []string
	for _, f := range v.Findings {
		all = append(all, f.Rule+": "+f.Text)
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{"silence: nothing that 10.50.0.2:40000 -> 10.51.0.2:5044 sent was answered", "sent again 5 times; then ACKs came again",
		"receiver hangs: the receiver has read nothing of this connection for 58s, and 17700 bytes wait"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s: want %q in:\n%s", v.Verdict, want, text)
		}
	}
}
