package verdict

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"halfopen/beatstats"
	"halfopen/fault"
	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// state is how a connection fares, as the kernels at both ends and the shipper's
// counters show it.
type state int

const (
	flowing  state = iota // what is sent is acknowledged within the second
	absent                // there is none
	syn                   // SYN_SENT, without an answer
	dead                  // packets vanish both ways, with data in flight
	deadOut               // only what the shipper sends vanishes
	deadBack              // only the answers vanish
	deadIdle              // packets vanish, nothing is in flight
	blocked               // the receiver keeps the shipper waiting with ACK 0
	silent                // a kernel acknowledges, nobody answers
	zero                  // the receiver's window is closed
	dropped               // this host's own rules drop what is sent
	closing               // CLOSE_WAIT: the receiver has closed
	hung                  // the shipper leaves what it received unread
)

// phase is what a connection does from a second on.
type phase struct {
	at      int
	is      state
	fresh   bool            // it is another connection than before
	port    uint16          // its local port; 0: one never used before
	remains sockstate.State // what is left of the old one; 0: nothing
	log     string          // pattern of a line of the shipper's log
	restart bool            // the shipper is a new process
	every   int             // acks come once in so many seconds; 0: each
	loss    float64         // share of packets lost
	rate    int             // events a second; 0: as before, -1: none
}

// ship is a shipper with its connections.
type ship struct {
	place string
	lines [][]phase // a connection each
	burst int       // events come once in so many seconds; 0: each
	full  bool      // its queue was full before
	first bool      // it has delivered nothing before the recording
	mute  []int     // seconds from and to which its counters are not read
	kind  string    // of its counters, a Beat's if empty
	blind bool      // its sockets are not read
	proc  bool      // they are read from /proc
}

// film is a recording told by what happened.
type film struct {
	seconds    int // 60 if 0
	ships      []ship
	cut        []int // seconds from and to which a fault drops all
	marks      []int // the same told by marks
	far        bool  // the receiver's side is recorded
	proxy      bool  // something else answers in the receiver's place
	step       int   // second in which the wall clock is set
	torn       bool  // the recording has no end
	timeout    time.Duration
	lint       []beatstats.Finding
	forgetIdle bool           // the fault drops what the flow sends after it
	path       func(m *shoot) // what else is recorded of the path, each second
	forget     []int          // seconds from and to which the router has no entries
}

const perSecond = 10 // events, unless a phase says otherwise

// line is a connection in the making.
type line struct {
	sock    sockstate.Socket
	since   int // second of its present phase
	heard   int // second in which the peer's kernel was last heard of
	phase   phase
	remains []sockstate.Socket
	idle    int // seconds since something was delivered
}

// crew is a ship at work.
type crew struct {
	ship
	at                     []*line // one for each of its lines
	id                     string
	began                  int
	published, acked, read int64
	rate                   int
}

type shoot struct {
	film
	rec    *timeline.Recording
	second int
	port   uint16
	cookie uint64
	dice   *rand.Rand
	crews  []*crew
}

var filmBegan = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// roll makes the recording.
func (f film) roll() *timeline.Recording {
	m := shoot{film: f, rec: &timeline.Recording{Path: "/evidence/film-20260102-030405-timeline.jsonl"}, port: 33000, dice: rand.New(rand.NewPCG(1, 2))}
	m.seconds = cmp.Or(f.seconds, 60)
	h := &timeline.Header{Format: 1, Ports: flow.NewPorts(5044)}
	if len(f.cut) > 0 {
		h.Method = timeline.MethodTransient
	}
	for _, s := range f.ships {
		s.place = cmp.Or(s.place, "filebeat")
		h.Places = append(h.Places, timeline.Place{Name: s.place, Role: timeline.Shipper, Sysctls: &sockstate.Sysctls{}})
		c := &crew{ship: s, id: "first", rate: perSecond}
		if !s.first {
			c.published, c.acked = 5000, 5000
		}
		if s.full {
			c.published += 4096
		}
		for range s.lines {
			c.at = append(c.at, &line{})
		}
		m.crews = append(m.crews, c)
	}
	if f.far {
		h.Places = append(h.Places, timeline.Place{Name: "logstash", Role: timeline.Receiver}, timeline.Place{Name: "router", Role: timeline.Router})
	}
	m.add(timeline.Body{Header: h})
	for _, c := range m.crews {
		timeout := cmp.Or(f.timeout, 24*time.Hour)
		m.add(timeline.Body{Settings: &timeline.Settings{Name: c.place, Timeout: &timeout, Findings: f.lint}})
	}
	for m.second = range m.seconds + 1 {
		m.shot()
	}
	if !f.torn {
		m.add(timeline.Body{End: &timeline.End{Reason: timeline.EndDone}})
	}
	return m.rec
}

func (m *shoot) add(b timeline.Body) {
	n := len(m.rec.Records)
	at := time.Duration(m.second)*time.Second + time.Duration(n%90)*time.Millisecond
	wall := filmBegan.Add(at)
	if m.step > 0 && m.second >= m.step {
		wall = wall.Add(-time.Hour)
	}
	m.rec.Records = append(m.rec.Records, timeline.Record{N: uint64(n + 1), Time: wall, Mono: time.Hour + at, Body: b})
}

// shot is a second: what happens, and every source's reading of it.
func (m *shoot) shot() {
	s := m.second
	if m.step > 0 && s == m.step {
		m.add(timeline.Body{Clock: &timeline.Clock{Step: -time.Hour}})
	}
	m.faults()
	var far []sockstate.Socket
	var entries []middlebox.Entry
	for _, c := range m.crews {
		near := m.act(c)
		if !c.blind {
			m.add(timeline.Body{Sockets: &timeline.Sockets{At: c.place, Via: "diag", Readings: 10, Sockets: near}})
		}
		if len(c.mute) == 0 || s < c.mute[0] || s >= c.mute[1] {
			m.add(timeline.Body{Stats: &timeline.Stats{At: c.place, Name: c.place, Sample: c.sample(s)}})
		}
		for _, l := range c.at {
			if e, ok := entryOf(l); ok {
				entries = append(entries, e)
			}
			if other, ok := l.across(s); ok && !m.proxy {
				far = append(far, other)
			}
		}
	}
	if len(m.forget) > 0 && s >= m.forget[0] && s < m.forget[1] {
		entries = nil
	}
	if m.path != nil {
		m.path(m)
	}
	if m.far {
		m.add(timeline.Body{Sockets: &timeline.Sockets{At: "logstash", Via: "diag", Readings: 10, Sockets: far}})
		m.add(timeline.Body{Conntrack: &timeline.Conntrack{At: "router", Readings: 10, Entries: entries}})
	}
	if len(m.cut) > 0 {
		m.add(timeline.Body{Canary: &timeline.Canary{Passed: s < m.cut[0] || s >= m.cut[1]}})
	}
}

func (m *shoot) faults() {
	s := m.second
	for i, name := range []string{fault.StepDrop, fault.StepForget} {
		if i < len(m.cut) && s == m.cut[i] {
			at := filmBegan.Add(time.Duration(s) * time.Second)
			m.add(timeline.Body{Fault: &timeline.Fault{At: "router", Method: "c", Step: fault.Step{Name: name, Start: at, End: at, Mono: time.Hour + time.Duration(s)*time.Second}}})
		}
	}
	if len(m.cut) > 0 && s >= m.cut[0] {
		counters := []fault.Counter{{Step: fault.StepDrop, Packets: 12, Bytes: 720}}
		if m.forgetIdle && s > m.cut[1]+5 {
			counters = append(counters, fault.Counter{Step: fault.StepForget, Packets: 5, Bytes: 300})
		}
		m.add(timeline.Body{Drops: &timeline.Drops{At: "router", Counters: counters}})
	}
	for i, drop := range []string{timeline.DropStart, timeline.DropEnd} {
		if i < len(m.marks) && s == m.marks[i] {
			m.add(timeline.Body{Mark: &timeline.Mark{Text: drop, Drop: drop, CalledMono: time.Hour + time.Duration(s)*time.Second}})
		}
	}
}

// act moves a shipper on by a second and returns its sockets.
func (m *shoot) act(c *crew) (near []sockstate.Socket) {
	s := m.second
	delivers := 0
	for i, l := range c.at {
		for _, p := range c.lines[i] {
			if p.at == s {
				m.enter(c, l, p)
			}
		}
		if l.phase.is == flowing && m.passes(l) {
			delivers++
		}
	}
	if c.burst == 0 || s%c.burst == 0 {
		c.published = min(c.published+int64(max(c.rate, 0)*max(c.burst, 1)), c.acked+4096)
	}
	for _, l := range c.at {
		if !slices.Contains(gone, l.phase.is) {
			l.heard = s
		}
		l.idle++
		if l.phase.is == flowing && delivers > 0 && c.acked < c.published {
			l.idle = 0
		}
		if (l.phase.is == blocked || l.phase.every > 0) && (s-l.since)%5 == 0 && s > l.since {
			c.read += ackFrame
		}
		if l.phase.is != absent {
			near = append(near, l.look(s, c.proc))
		}
		near = append(near, l.remains...)
	}
	if delivers > 0 {
		c.read += ackFrame * (c.published - c.acked) / 10
		c.acked = c.published
	}
	return near
}

// passes is whether what a flowing connection sent this second was acknowledged.
func (m *shoot) passes(l *line) bool {
	if l.phase.every > 0 {
		return (m.second-l.since)%l.phase.every == 0
	}
	return l.phase.loss == 0 || m.dice.Float64() > l.phase.loss
}

func (m *shoot) enter(c *crew, l *line, p phase) {
	s := m.second
	if l.sock.State == 0 || p.fresh {
		if l.sock.State != 0 && p.remains != 0 {
			old := l.look(s, c.proc)
			old.State = p.remains
			if p.remains == sockstate.FinWait1 || p.remains == sockstate.TimeWait {
				old.Inode = 0
			}
			l.remains = []sockstate.Socket{old}
		}
		m.cookie++
		port := p.port
		if port == 0 {
			m.port++
			port = m.port
		}
		local := netip.AddrPortFrom(netip.MustParseAddr("10.50.0.2"), port)
		l.sock = sockstate.Socket{Flow: flow.New(local, receiver), State: sockstate.Established, Inode: uint32(1000 + m.cookie), Cookie: m.cookie}
	}
	if p.restart {
		c.id, c.began, c.published, c.acked, c.read = c.id+"'", s, c.published-c.acked, 0, 0
	}
	if p.rate != 0 {
		c.rate = p.rate
	}
	if p.log != "" {
		m.add(timeline.Body{Event: &timeline.Event{Name: c.place, Pattern: p.log, Means: "the film says so"}})
	}
	l.phase, l.since = p, s
}

// gone are the states in which nothing of the peer arrives.
var gone = []state{dead, deadOut, deadBack, deadIdle, dropped}

func (c *crew) sample(s int) beatstats.Sample {
	v := func(n int64) *beatstats.Value { return &beatstats.Value{N: n} }
	up := time.Duration(s-c.began) * time.Second
	if c.kind == beatstats.Fluentd { // chunks wait; what was taken in is another unit
		return beatstats.Sample{Kind: c.kind, Acked: v(c.acked), Pending: v((c.published - c.acked + 99) / 100)}
	}
	return beatstats.Sample{
		Kind: beatstats.Beat, ID: c.id, Uptime: &up, Published: v(c.published), Acked: v(c.acked), Pending: v(c.published - c.acked),
		Capacity: v(4096), ReadBytes: v(c.read),
	}
}

// across is the receiver's socket of a line: Logstash closes a client that was
// silent for a minute.
func (l *line) across(s int) (k sockstate.Socket, ok bool) {
	silentFor := 0
	switch l.phase.is {
	case absent, syn, closing:
		return k, false
	case dead, deadOut, deadIdle, dropped:
		silentFor = s - l.since
	}
	if silentFor >= 60 {
		return k, false
	}
	e, _ := entryOf(l)
	k = sockstate.Socket{Flow: e.Receiver(), State: sockstate.Established, Timer: sockstate.TimerOff, Inode: l.sock.Inode + 5000, Cookie: l.sock.Cookie + 5000}
	k.Info = &sockstate.Info{RTO: 200 * time.Millisecond, LastDataRecv: time.Duration(silentFor) * time.Second}
	if l.phase.is == silent { // what comes is left unread
		k.RecvQ = uint32(300 * (s - l.since))
		k.Info.BytesReceived = sockstate.Some(1000 + uint64(k.RecvQ))
	}
	if l.phase.is == deadBack {
		k.SendQ, k.Timer = ackFrame, sockstate.TimerRetransmit
	}
	return k, true
}

// entryOf is the router's entry of a line, which hides the shipper's address.
func entryOf(l *line) (e middlebox.Entry, ok bool) {
	hidden := netip.AddrPortFrom(netip.MustParseAddr("10.51.0.1"), l.sock.Local.Port()+20000)
	return middlebox.Entry{Orig: l.sock.Flow, Reply: flow.New(receiver, hidden), State: "ESTABLISHED"}, l.phase.is != absent
}
