package sockstate

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNamesRoundTrip(t *testing.T) {
	for n := range 256 {
		for _, v := range []interface {
			MarshalText() ([]byte, error)
			String() string
		}{State(n), Timer(n), CAState(n)} {
			text, err := v.MarshalText()
			if err != nil || string(text) != v.String() || len(text) == 0 {
				t.Fatalf("%T %d: %q, %v", v, n, text, err)
			}
			switch v := v.(type) {
			case State:
				var got State
				if err := got.UnmarshalText(text); err != nil || got != v && v != NewSynRecv {
					t.Errorf("state %d came back as %d, %v", v, got, err)
				}
			case Timer:
				var got Timer
				if err := got.UnmarshalText(text); err != nil || got != v {
					t.Errorf("timer %d came back as %d, %v", v, got, err)
				}
			case CAState:
				var got CAState
				if err := got.UnmarshalText(text); err != nil || got != v {
					t.Errorf("congestion control state %d came back as %d, %v", v, got, err)
				}
			}
		}
	}
	spelt := map[State]string{
		Established: "ESTABLISHED", SynSent: "SYN_SENT", SynRecv: "SYN_RECV", FinWait1: "FIN_WAIT1", FinWait2: "FIN_WAIT2", TimeWait: "TIME_WAIT",
		Close: "CLOSE", CloseWait: "CLOSE_WAIT", LastAck: "LAST_ACK", Listen: "LISTEN", Closing: "CLOSING", NewSynRecv: "SYN_RECV",
	}
	for s, want := range spelt {
		if s.String() != want {
			t.Errorf("state %d is spelt %q, want %q", s, s, want)
		}
	}
	for _, text := range []string{"", "established", "256", "-1", "SYN-SENT"} {
		if err := new(State).UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), `"`+text+`"`) {
			t.Errorf("state %q: error %v", text, err)
		}
	}
}

// example is a socket with every kind of field.
func example() Socket {
	return Socket{
		Flow: between("10.50.0.2:33342", "[2001:db8::2]:5044"), State: Established, Timer: TimerRetransmit, TimerIn: time.Second,
		Retransmits: 8, SendQ: 1002, RecvQ: 3, UID: 999, Inode: 18485, Interface: 2, Cookie: 1<<63 + 1,
		Proc: &ProcCols{Ref: 3, RTO: 52 * time.Second, Cwnd: 1, Ssthresh: Some(uint32(7))},
		Info: &Info{
			CAState: 4, Backoff: 8, RTO: 52 * time.Second, LastAckRecv: time.Minute, LastDataRecv: time.Minute, LastDataSent: time.Second,
			BytesAcked: Some(uint64(1) << 63), MinRTT: Some(time.Millisecond), Busy: Some(time.Minute), Congestion: "cubic",
			Mem: Some(Mem{RecvBuf: 131072}),
		},
	}
}

func TestSocketJSON(t *testing.T) {
	want := example()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"local":"10.50.0.2:33342","remote":"[2001:db8::2]:5044","state":"ESTABLISHED","timer":"retransmit","timer_in_ns":1000000000`,
		`"acked_bytes":9223372036854775808`, `"min_rtt_ns":1000000`, `"ca_state":"Loss"`, `"recv_buf_bytes":131072`, `"ssthresh":7`,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	for _, absent := range []string{"sent_bytes\":", "snd_wnd_bytes", "null"} {
		if strings.Contains(string(text), `"`+absent) {
			t.Errorf("%s is in %s", absent, text)
		}
	}
	var got Socket
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, sameAddr); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"acked_bytes":null,"segs_in":-1}`), &Info{}); err == nil {
		t.Error("a negative count was accepted")
	}
}

func TestSteady(t *testing.T) {
	cases := []struct {
		name   string
		change func(*Socket)
		want   bool
	}{
		{"nothing", func(*Socket) {}, true},
		{"clocks", func(s *Socket) {
			s.TimerIn--
			s.Info.LastAckRecv++
			s.Info.LastDataRecv++
			s.Info.LastDataSent++
			s.Info.Busy = Some(2 * time.Minute)
		}, true},
		{"queue", func(s *Socket) { s.SendQ++ }, false},
		{"retransmission", func(s *Socket) { s.Retransmits++ }, false},
		{"another socket on the same flow", func(s *Socket) { s.Cookie++ }, false},
		{"bytes acked", func(s *Socket) { s.Info.BytesAcked = Some(uint64(0)) }, false},
		{"value gone", func(s *Socket) { s.Info.Busy = Opt[time.Duration]{} }, false},
		{"column", func(s *Socket) { s.Proc.Cwnd++ }, false},
		{"no columns", func(s *Socket) { s.Proc = nil }, false},
		{"no tcp_info", func(s *Socket) { s.Info = nil }, false},
	}
	for _, c := range cases {
		now, prev := example(), example()
		c.change(&now)
		if now.Steady(prev) != c.want || prev.Steady(now) != c.want {
			t.Errorf("%s: steady is not %v", c.name, c.want)
		}
		if fresh := example(); !cmp.Equal(prev, fresh, sameAddr) {
			t.Errorf("%s: Steady has changed a reading", c.name)
		}
	}
}
