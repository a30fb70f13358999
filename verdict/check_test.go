package verdict

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"halfopen/beatstats"
	"halfopen/flow"
	"halfopen/sockstate"
	"halfopen/timeline"
)

const ms, sec = time.Millisecond, time.Second

// seenSocket is a socket of the shipper, ESTABLISHED and quiet but for what change says.
func seenSocket(port uint16, change func(*sockstate.Socket)) sockstate.Socket {
	s := sockstate.Socket{
		Flow:  flow.New(netip.AddrPortFrom(netip.MustParseAddr("10.50.0.2"), port), receiver),
		State: sockstate.Established, Timer: sockstate.TimerKeepalive, TimerIn: 10 * sec, Inode: uint32(port), Cookie: uint64(port),
		Info: &sockstate.Info{
			RTO: 200 * ms, LastDataSent: 100 * sec, LastDataRecv: 99 * sec, LastAckRecv: 5 * sec,
			BytesAcked: sockstate.Some(uint64(1000)), BytesReceived: sockstate.Some(uint64(60)), SndWnd: sockstate.Some(uint32(65535)),
			DataSegsOut: sockstate.Some(uint32(10)), NotSent: sockstate.Some(uint32(0)),
		},
	}
	if change != nil {
		change(&s)
	}
	return s
}

func sentAgain(times int, ack time.Duration) func(*sockstate.Socket) {
	return func(s *sockstate.Socket) {
		s.Timer, s.SendQ, s.Retransmits = sockstate.TimerRetransmit, 802, uint32(times)
		s.Info.Backoff, s.Info.RTO = uint8(times), 200*ms<<times
		s.TimerIn = s.Info.RTO
		s.Info.LastAckRecv, s.Info.LastDataRecv = ack, ack
	}
}

func probing(times int, window uint32, sent, ack time.Duration) func(*sockstate.Socket) {
	return func(s *sockstate.Socket) {
		s.Timer, s.SendQ, s.TimerIn = sockstate.TimerProbe, 5000, 200*ms<<times
		s.Info.Backoff, s.Info.SndWnd = uint8(times), sockstate.Some(window)
		s.Info.LastDataSent, s.Info.LastAckRecv = sent, ack
	}
}

func idleFor(sent, received time.Duration) func(*sockstate.Socket) {
	return func(s *sockstate.Socket) { s.Info.LastDataSent, s.Info.LastDataRecv = sent, received }
}

// counted are the counters: acked, pending, active; below zero: not told.
func counted(n ...int64) *beatstats.Sample {
	s := &beatstats.Sample{Kind: beatstats.Beat, ID: "one"}
	for i, v := range []**beatstats.Value{&s.Acked, &s.Pending, &s.Active} {
		if i < len(n) && n[i] >= 0 {
			*v = &beatstats.Value{N: n[i]}
		}
	}
	return s
}

// glimpses are a recording of one shipper with a reading each second apart.
type glimpses struct {
	mute     bool          // its counters could not be read
	apart    time.Duration // 1s if 0
	counters []*beatstats.Sample
	sockets  [][]sockstate.Socket
}

func (l glimpses) recording() *timeline.Recording {
	apart := l.apart
	if apart == 0 {
		apart = sec
	}
	rec := &timeline.Recording{}
	add := func(at time.Duration, b timeline.Body) {
		n := uint64(len(rec.Records) + 1)
		rec.Records = append(rec.Records, timeline.Record{N: n, Time: filmBegan.Add(at), Mono: time.Hour + at, Body: b})
	}
	add(0, timeline.Body{Header: &timeline.Header{Ports: flow.NewPorts(5044), Places: []timeline.Place{{Name: "filebeat", Role: timeline.Shipper, Sysctls: &sockstate.Sysctls{}}}}})
	for i := range max(len(l.counters), len(l.sockets)) {
		at := time.Duration(i)*apart + ms
		if i < len(l.counters) && l.counters[i] != nil {
			add(at, timeline.Body{Stats: &timeline.Stats{At: "filebeat", Name: "filebeat", Sample: *l.counters[i]}})
		}
		if l.mute {
			add(at, timeline.Body{Failure: &timeline.Failure{Source: "stats of filebeat", Error: "connected, but no answer"}})
		}
		if i < len(l.sockets) {
			add(at+ms, timeline.Body{Sockets: &timeline.Sockets{At: "filebeat", Via: "diag", Readings: 1, Sockets: l.sockets[i]}})
		}
	}
	return rec
}

// twice is the same sockets in two readings.
func twice(socks ...sockstate.Socket) [][]sockstate.Socket {
	return [][]sockstate.Socket{socks, socks}
}

func TestCheck(t *testing.T) {
	quiet := seenSocket(40000, nil)
	stood := []*beatstats.Sample{counted(49, 12, 3), counted(49, 12, 3)}
	moving := []*beatstats.Sample{counted(40, 9, 3), counted(49, 5, 3)}
	for name, c := range map[string]struct {
		glimpses
		health Health
		class  Class
		stood  time.Duration // at least; -1: none
		why    string
	}{
		"acks move": {glimpses{counters: []*beatstats.Sample{counted(40, 9, 3), counted(49, 0, 0)}, sockets: twice(seenSocket(1, idleFor(300*ms, 200*ms)))},
			Healthy, "", -1, "nothing waits"},
		"acks move, some wait": {glimpses{counters: []*beatstats.Sample{counted(40, 9, 3), counted(49, 5, 3)}, sockets: twice(seenSocket(1, idleFor(300*ms, 200*ms)))},
			Healthy, "", -1, "acks move"},
		"just sent": {glimpses{counters: stood, sockets: twice(seenSocket(1, idleFor(300*ms, 100*sec)))}, Healthy, "", -1, "the last were sent"},
		"in flight": {glimpses{counters: stood, sockets: twice(seenSocket(1, func(s *sockstate.Socket) { s.SendQ, s.Timer, s.Info.LastDataSent = 10, sockstate.TimerRetransmit, ms }))},
			Healthy, "", -1, "10 bytes in flight"},
		"nothing waits":                   {glimpses{counters: []*beatstats.Sample{counted(49, 0, 0), counted(49, 0, 0)}, sockets: twice(quiet)}, Idle, "", -1, "nothing waits"},
		"nothing waits, one reading":      {glimpses{counters: []*beatstats.Sample{counted(49, 0)}, sockets: [][]sockstate.Socket{{quiet}}}, Idle, "", -1, "nothing waits"},
		"no counters, answered":           {glimpses{sockets: twice(quiet)}, Idle, "", -1, "was answered"},
		"no counters, never used":         {glimpses{sockets: twice(seenSocket(1, func(s *sockstate.Socket) { s.Info.DataSegsOut = sockstate.Some(uint32(0)) }))}, Idle, "", -1, "nothing was ever sent"},
		"no counters, sends":              {glimpses{sockets: twice(seenSocket(1, idleFor(300*ms, 100*sec)))}, Healthy, "", -1, "peer's kernel"},
		"no counters, unanswered":         {glimpses{sockets: twice(seenSocket(1, idleFor(100*sec, 200*sec)))}, Untold, "", -1, "no answer but the kernel's"},
		"no counters, ticks":              {glimpses{sockets: twice(seenSocket(1, idleFor(100*sec, 3*sec)))}, Untold, "", -1, "blocked, or slow"},
		"no counters, unread":             {glimpses{sockets: twice(seenSocket(1, func(s *sockstate.Socket) { s.RecvQ = 6 }))}, Untold, "", -1, "unread"},
		"no counters, no tcp_info":        {glimpses{sockets: twice(seenSocket(1, func(s *sockstate.Socket) { s.Info = nil }))}, Untold, "", -1, "/proc alone"},
		"counters hang, answered":         {glimpses{mute: true, sockets: twice(quiet)}, Untold, "", -1, "could not be read"},
		"counters hang, busy":             {glimpses{mute: true, sockets: twice(seenSocket(1, idleFor(ms, ms)))}, Healthy, "", -1, "peer's kernel"},
		"half-open":                       {glimpses{sockets: twice(seenSocket(1, sentAgain(6, 20*sec)))}, Stuck, HalfOpen, 12 * sec, "sent again 6 times"},
		"half-open, one reading":          {glimpses{sockets: [][]sockstate.Socket{{seenSocket(1, sentAgain(6, 20*sec))}}}, Stuck, HalfOpen, 12 * sec, ""},
		"half-open, acks move elsewhere":  {glimpses{counters: []*beatstats.Sample{counted(40, 9, 3), counted(49, 5, 3)}, sockets: twice(seenSocket(1, sentAgain(6, 20*sec)), seenSocket(2, idleFor(300*ms, 200*ms)))}, Stuck, HalfOpen, 12 * sec, "1 of 2"},
		"half-open, the counters deny it": {glimpses{counters: []*beatstats.Sample{counted(49, 0, 0), counted(49, 0, 0)}, sockets: twice(seenSocket(1, sentAgain(7, 30*sec)))}, Stuck, HalfOpen, 20 * sec, ""},
		"idle for an hour, then one loss": {glimpses{sockets: twice(seenSocket(1, sentAgain(1, time.Hour)))}, Healthy, "", 0, "no more than a loss"},
		"lossy: an ACK came":              {glimpses{sockets: twice(seenSocket(1, sentAgain(3, 300*ms)))}, Healthy, "", 300 * ms, "no more than a loss"},
		"one way is bad":                  {glimpses{sockets: twice(seenSocket(1, sentAgain(6, 800*ms)))}, Untold, "", 12 * sec, "while packets of the receiver come"},
		"one way is dead":                 {glimpses{sockets: twice(seenSocket(1, sentAgain(8, 800*ms)))}, Stuck, Unknown, 50 * sec, "only the way to it is dead"},
		"so many losses are no chance": {glimpses{sockets: twice(seenSocket(1, func(s *sockstate.Socket) {
			sentAgain(3, 1900*ms)(s)
			s.TimerIn, s.Info.LastDataSent, s.Info.TotalRetrans, s.Info.DataSegsOut = sec, 600*ms, 3, sockstate.Some(uint32(1000))
		}))}, Stuck, HalfOpen, 1500 * ms, "a path that is down for a moment looks the same"},
		"too early": {glimpses{sockets: twice(seenSocket(1, sentAgain(6, 8*sec)))}, Untold, "", 8 * sec, "not long enough"},
		"half-open in /proc": {glimpses{sockets: twice(seenSocket(1, func(s *sockstate.Socket) {
			sentAgain(6, 0)(s)
			s.Info, s.Proc = nil, &sockstate.ProcCols{RTO: 12800 * ms, Retransmits: 6}
		}))}, Stuck, HalfOpen, 12 * sec, ""},
		"zero window":             {glimpses{sockets: twice(seenSocket(1, probing(8, 0, 60*sec, 2*sec)))}, Stuck, ZeroWindow, 50 * sec, "zero"},
		"zero window since now":   {glimpses{sockets: twice(seenSocket(1, probing(2, 0, time.Hour, ms)))}, Healthy, "", 500 * ms, "held back"},
		"zero window for a while": {glimpses{sockets: twice(seenSocket(1, probing(6, 0, 60*sec, 2*sec)))}, Untold, ZeroWindow, 12 * sec, "not long enough"},
		"zero window, unanswered": {glimpses{sockets: twice(seenSocket(1, func(s *sockstate.Socket) { probing(8, 0, 60*sec, 55*sec)(s); s.Retransmits = 8 }))}, Stuck, HalfOpen, 50 * sec, "went unanswered"},
		"local drop":              {glimpses{sockets: twice(seenSocket(1, probing(6, 65535, 60*sec, 60*sec)))}, Stuck, LocalDrop, 12 * sec, "window is open"},
		"local drop, new":         {glimpses{sockets: twice(seenSocket(1, probing(2, 65535, time.Hour, time.Hour)))}, Healthy, "", 500 * ms, ""},
		"idle half-open": {glimpses{counters: []*beatstats.Sample{counted(49, 0), counted(49, 0)}, sockets: twice(seenSocket(1, func(s *sockstate.Socket) { s.Retransmits, s.Info.LastAckRecv = 3, 60*sec }))},
			Stuck, IdleHalfOpen, 60 * sec, "3 keepalive probes"},
		"one probe under way": {glimpses{sockets: twice(seenSocket(1, func(s *sockstate.Socket) { s.Retransmits, s.Info.LastAckRecv = 1, 16*sec }))}, Idle, "", -1, "under way"},
		"silent peer":         {glimpses{counters: stood, sockets: twice(seenSocket(1, idleFor(60*sec, 61*sec)))}, Stuck, SilentPeer, 60 * sec, "no data came back"},
		"silent peer, pipelined": {glimpses{counters: stood, sockets: twice(seenSocket(1, idleFor(61*sec, 60*sec)))},
			Stuck, SilentPeer, 60 * sec, ""},
		"silent peer, one reading":           {glimpses{counters: stood[:1], sockets: [][]sockstate.Socket{{seenSocket(1, idleFor(60*sec, 61*sec))}}}, Untold, "", -1, ""},
		"events wait, not known to be sent":  {glimpses{counters: []*beatstats.Sample{counted(49, 12, 0), counted(49, 12, 0)}, sockets: twice(seenSocket(1, idleFor(60*sec, 61*sec)))}, Untold, "", sec, "not long enough"},
		"of two the other is answered":       {glimpses{counters: stood, sockets: twice(seenSocket(1, idleFor(61*sec, 60*sec)), seenSocket(2, idleFor(60*sec, 61*sec)))}, Stuck, SilentPeer, 60 * sec, "1 of 2"},
		"of two neither":                     {glimpses{counters: stood, sockets: twice(seenSocket(1, idleFor(61*sec, 60*sec)), seenSocket(2, idleFor(61*sec, 60*sec)))}, Untold, "", -1, "can't be told"},
		"blocked or slow":                    {glimpses{counters: stood, sockets: twice(seenSocket(1, idleFor(60*sec, 3*sec)))}, Untold, "", sec, "blocked, or slow"},
		"blocked, watched for a minute":      {glimpses{apart: time.Minute, counters: stood, sockets: [][]sockstate.Socket{{seenSocket(1, idleFor(5*sec, 3*sec))}, {seenSocket(1, func(s *sockstate.Socket) { idleFor(65*sec, 3*sec)(s); s.Info.BytesReceived.V += 72 })}}}, Stuck, ReceiverBlocked, time.Minute, "no ack came for 1m0s"},
		"acks stand for a minute, data goes": {glimpses{apart: time.Minute, counters: stood, sockets: twice(seenSocket(1, idleFor(sec, 70*sec)))}, Stuck, SilentPeer, time.Minute, "no ack came for 1m0s"},
		"the shipper hangs":                  {glimpses{counters: stood, sockets: twice(seenSocket(1, func(s *sockstate.Socket) { idleFor(60*sec, 60*sec)(s); s.RecvQ = 6 }))}, Stuck, Unknown, 60 * sec, "shipper that hangs"},
		"restarted between":                  {glimpses{counters: []*beatstats.Sample{counted(49, 12, 3), func() *beatstats.Sample { s := counted(0, 12, 3); s.ID = "two"; return s }()}, sockets: twice(seenSocket(1, idleFor(60*sec, 61*sec)))}, Untold, "", -1, ""},
		"SYN just sent":                      {glimpses{sockets: twice(seenSocket(1, func(s *sockstate.Socket) { s.State, s.Timer = sockstate.SynSent, sockstate.TimerRetransmit }))}, Untold, "", -1, "being made"},
		"SYN without an answer": {glimpses{sockets: twice(seenSocket(1, func(s *sockstate.Socket) {
			s.State, s.Timer, s.Retransmits, s.Info.RTO, s.TimerIn = sockstate.SynSent, sockstate.TimerRetransmit, 4, 16*sec, 10*sec
		}))}, Stuck, NotConnected, 15 * sec, "does not answer"},
		"acks move, not connected":     {glimpses{counters: []*beatstats.Sample{counted(49, 0), counted(59, 0)}, sockets: twice()}, Untold, "", -1, "another port"},
		"not connected, nothing waits": {glimpses{counters: []*beatstats.Sample{counted(49, 0), counted(49, 0)}, sockets: twice()}, Idle, "", -1, "no connection"},
		"not connected, events wait":   {glimpses{counters: stood, sockets: twice()}, Untold, NotConnected, -1, "between two attempts"},
		"not connected for a minute":   {glimpses{apart: time.Minute, counters: stood, sockets: twice()}, Stuck, NotConnected, time.Minute, "no connection"},
		"not connected, no counters":   {glimpses{sockets: twice()}, Untold, "", -1, "not known"},
		"sockets not read":             {glimpses{counters: stood}, Untold, "", -1, "not read in time"},
		"of two one unanswered, acks move": {glimpses{counters: moving, sockets: twice(seenSocket(1, idleFor(300*ms, 200*ms)), seenSocket(2, idleFor(10*time.Minute, 11*time.Minute)))},
			Stuck, SilentPeer, 10 * time.Minute, "1 of 2 connections: what was sent 10m0s ago"},
		"of two one unanswered, none known to be sent": {glimpses{counters: []*beatstats.Sample{counted(40, 9), counted(49, 5)}, sockets: twice(seenSocket(1, idleFor(300*ms, 200*ms)), seenSocket(2, idleFor(10*time.Minute, 11*time.Minute)))},
			Untold, "", -1, "had no answer but the kernel's"},
		"of two one unanswered of late":         {glimpses{counters: moving, sockets: twice(seenSocket(1, idleFor(300*ms, 200*ms)), seenSocket(2, idleFor(20*sec, 11*time.Minute)))}, Healthy, "", -1, "1 of 2"},
		"of two one answered long ago":          {glimpses{counters: moving, sockets: twice(seenSocket(1, idleFor(300*ms, 200*ms)), seenSocket(2, idleFor(10*time.Minute, 9*time.Minute)))}, Healthy, "", -1, "1 of 2"},
		"of two one never used":                 {glimpses{counters: moving, sockets: twice(seenSocket(1, idleFor(300*ms, 200*ms)), unused(2))}, Healthy, "", -1, "1 of 2"},
		"of two one never used, nothing":        {glimpses{counters: stood, sockets: twice(seenSocket(1, idleFor(300*ms, 200*ms)), unused(2))}, Untold, "", -1, "can't be told"},
		"nothing waits, none answered":          {glimpses{counters: []*beatstats.Sample{counted(40, 0, 0), counted(49, 0, 0)}, sockets: twice(seenSocket(1, idleFor(10*time.Minute, 11*time.Minute)))}, Idle, "", -1, "nothing waits"},
		"closed by the receiver, nothing waits": {glimpses{counters: []*beatstats.Sample{counted(49, 0), counted(49, 0)}, sockets: twice(closedSocket(1, 50*sec))}, Idle, CloseWait, -1, "will find out"},
		"closed by the receiver, events wait":   {glimpses{counters: stood, sockets: twice(closedSocket(1, 50*sec))}, Stuck, CloseWait, 50 * sec, "12 events wait"},
		"closed by the receiver just now":       {glimpses{counters: stood, sockets: twice(closedSocket(1, 5*sec))}, Untold, CloseWait, -1, ""},
		"closed by the receiver, no counters":   {glimpses{sockets: twice(closedSocket(1, 50*sec))}, Untold, CloseWait, -1, ""},
		"a pile":                                {glimpses{sockets: twice(closedSocket(1, 50*sec), closedSocket(2, 60*sec), closedSocket(3, 70*sec), seenSocket(4, idleFor(ms, ms)))}, Stuck, CloseWait, 70 * sec, "3 of 4"},
		"only remains":                          {glimpses{counters: []*beatstats.Sample{counted(49, 0), counted(49, 0)}, sockets: twice(seenSocket(1, func(s *sockstate.Socket) { s.State, s.Inode = sockstate.FinWait1, 0 }))}, Idle, "", -1, "no connection"},
	} {
		got := Check(c.recording(), Defaults())
		s := got.Shippers[0]
		if s.Health != c.health || s.Class != c.class || !strings.Contains(s.Why, c.why) {
			t.Errorf("%s: %s, class %q, %s; want %s, %q, %q", name, s.Health, s.Class, s.Why, c.health, c.class, c.why)
		}
		if c.stood < 0 && s.Stood != nil || c.stood > 0 && (deref(s.Stood) < c.stood || deref(s.Stood) > c.stood+12*sec) {
			t.Errorf("%s: stood %v, want %v", name, deref(s.Stood), c.stood)
		}
		if (s.Health == Stuck || s.Health == Untold) && s.Next == "" && s.Connections[0].Next == "" {
			t.Errorf("%s: no word of what to do next", name)
		}
		if want := s.Class == HalfOpen && deref(s.Stood) < 30*sec; (s.Confidence == Low) != want || want && !strings.Contains(got.Summary, "confidence low") {
			t.Errorf("%s: confidence %q after %s: %s", name, s.Confidence, deref(s.Stood), got.Summary)
		}
		if got.Health != s.Health {
			t.Errorf("%s: %s, its only shipper %s", name, got.Health, s.Health)
		}
	}
}

// unused is a socket that nothing was ever sent on: its ages are its own, that of
// the SYN the older.
func unused(port uint16) sockstate.Socket {
	return seenSocket(port, func(s *sockstate.Socket) {
		idleFor(10*time.Minute, 10*time.Minute+ms)(s)
		s.Info.DataSegsOut = sockstate.Some(uint32(0))
	})
}

// What to do about sockets that were not read goes by the reason.
func TestCheckUnseen(t *testing.T) {
	for reason, want := range map[string]string{"": "--timeout", "no such device": "doctor"} {
		rec := glimpses{counters: []*beatstats.Sample{counted(49, 0, 0)}}.recording()
		if reason != "" {
			rec.Records = append(rec.Records, timeline.Record{N: 9, Time: filmBegan.Add(sec), Mono: time.Hour + sec, Body: timeline.Body{Failure: &timeline.Failure{Source: "sockets of filebeat", Error: reason}}})
		}
		s := Check(rec, Defaults()).Shippers[0]
		if !strings.Contains(s.Next, want) || strings.Contains(s.Next, "root") || !strings.HasSuffix(s.Why, reason) || s.Count != nil {
			t.Errorf("%q: %s; %s; %v", reason, s.Why, s.Next, s.Count)
		}
	}
	if s := Check(glimpses{sockets: twice()}.recording(), Defaults()).Shippers[0]; s.Count == nil {
		t.Error("sockets that were read and are none are not counted")
	}
}

// For how long a connection has stalled that nobody knows of is not taken from
// another, and it is listed first.
func TestCheckSinceWhen(t *testing.T) {
	bare := seenSocket(1, func(s *sockstate.Socket) { s.Info, s.Retransmits = nil, 5 })
	socks := []sockstate.Socket{bare}
	for port := range uint16(mostConns) {
		socks = append(socks, seenSocket(port+2, sentAgain(7, 30*sec)))
	}
	c := Check(glimpses{sockets: twice(socks...)}.recording(), Defaults())
	s := c.Shippers[0]
	if worst := s.Connections[0]; worst.Class != IdleHalfOpen || worst.Stood != nil || s.Class != IdleHalfOpen || deref(s.Stood) < 20*sec || strings.Contains(c.Summary, "no answer for at least") {
		t.Errorf("%s; %+v", c.Summary, worst)
	}
}

func closedSocket(port uint16, age time.Duration) sockstate.Socket {
	return seenSocket(port, func(s *sockstate.Socket) { s.State, s.RecvQ, s.Info.LastAckRecv = sockstate.CloseWait, 1, age })
}

// What ends a stall, and how long it may last, comes from the kernel's own forecast.
func TestCheckEnds(t *testing.T) {
	c := Check(glimpses{sockets: twice(seenSocket(1, sentAgain(6, 20*sec)))}.recording(), Defaults()).Shippers[0].Connections[0]
	if len(c.Ends) != 1 || c.Ends[0].By != ByKernel || c.Ends[0].Earliest == nil || c.Ends[0].Latest.Sub(filmBegan) > 20*time.Minute || *c.Backoff != 6 || c.Unacked != 802 || *c.Unsent != 0 {
		t.Errorf("%+v", c)
	}
	if c := Check(glimpses{sockets: twice(seenSocket(1, idleFor(ms, ms)))}.recording(), Defaults()).Shippers[0].Connections[0]; len(c.Ends) != 0 || c.Next != "" {
		t.Errorf("of a healthy one: %+v", c)
	}
}

// A crowd is counted, the worst of it are listed.
func TestCheckCrowd(t *testing.T) {
	var socks []sockstate.Socket
	for i := range 5000 {
		change := idleFor(300*ms, 200*ms)
		if i == 4321 {
			change = sentAgain(6, 20*sec)
		}
		socks = append(socks, seenSocket(uint16(1000+i), change))
	}
	s := Check(glimpses{sockets: twice(socks...)}.recording(), Defaults()).Shippers[0]
	if len(s.Connections) != mostConns || s.Connections[0].Class != HalfOpen || s.Count[Healthy] != 4999 || s.Count[Stuck] != 1 || s.Unacked != 802 || len(s.Notes) != 1 {
		t.Errorf("%d listed, %v, %d bytes, %q", len(s.Connections), s.Count, s.Unacked, s.Notes)
	}
}

// Nothing that a recording holds makes a check crash, or contradict itself.
func FuzzCheck(f *testing.F) {
	f.Add(uint8(1), uint8(1), uint32(8), uint32(802), uint32(0), uint8(8), int64(12*sec), int64(44*sec), int64(3*sec), int64(44*sec), uint32(65535), int64(12), int64(3))
	f.Add(uint8(8), uint8(4), uint32(0), uint32(0), uint32(1), uint8(255), int64(-1), int64(-1), int64(1<<62), int64(0), uint32(0), int64(-5), int64(1<<62))
	f.Add(uint8(2), uint8(1), uint32(1<<31), uint32(1), uint32(0), uint8(0), int64(0), int64(1<<62), int64(0), int64(0), uint32(1), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, state, timer uint8, again, sendq, recvq uint32, backoff uint8, rto, ack, sent, received int64, window uint32, pending, active int64) {
		sock := seenSocket(1, func(s *sockstate.Socket) {
			s.State, s.Timer, s.Retransmits, s.SendQ, s.RecvQ, s.TimerIn = sockstate.State(state), sockstate.Timer(timer), again, sendq, recvq, time.Duration(rto)
			s.Info.Backoff, s.Info.RTO, s.Info.LastAckRecv, s.Info.LastDataSent, s.Info.LastDataRecv = backoff, time.Duration(rto), time.Duration(ack), time.Duration(sent), time.Duration(received)
			s.Info.SndWnd = sockstate.Some(window)
		})
		bare := sock
		bare.Info = nil
		for _, k := range []sockstate.Socket{sock, bare} {
			for _, c := range [][]*beatstats.Sample{nil, {counted(1, pending, active), counted(1, pending, active)}} {
				s := Check(glimpses{counters: c, sockets: twice(k)}.recording(), Defaults()).Shippers[0]
				if s.Why == "" || s.Health == Stuck && s.Class == "" || s.Stood != nil && *s.Stood <= 0 {
					t.Errorf("%+v", s)
				}
			}
		}
	})
}
