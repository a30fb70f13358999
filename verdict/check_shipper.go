package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"halfopen/beatstats"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// glance is a check of one shipper under way.
type glance struct {
	*judge
	conns []*conn // that are there now, and are no remains
	pile  int     // of these, closed by the receiver long ago
	up    bool    // one of them is ESTABLISHED
	says  told
}

// told is what the counters say, by their first and last reading.
type told struct {
	known   bool          // how many events wait
	waiting int64         // events, in the last reading
	sent    bool          // some were sent and not confirmed, in both
	moved   bool          // acked grew
	stood   time.Duration // how long acks stood still with work waiting, as far as readings saw
	from    time.Duration // the first reading
}

func newGlance(rec *timeline.Recording, name string, th Thresholds) *glance {
	r := read(rec, name)
	r.cut = nil
	g := &glance{judge: &judge{run: r, th: th}}
	for _, c := range r.conns {
		if s := c.lastSeen(); c.gone == 0 && alive(s.sock) {
			g.conns = append(g.conns, c)
			g.up = g.up || s.sock.State == sockstate.Established
			if s.sock.State == sockstate.CloseWait && deref(lastAck(s.sock)) >= th.StallAfter {
				g.pile++
			}
		}
	}
	g.says = g.counters()
	return g
}

// alive tells connections from what is left of closed ones.
func alive(k sockstate.Socket) bool {
	switch k.State {
	case sockstate.Established, sockstate.SynSent, sockstate.CloseWait:
		return true
	}
	return false
}

// over is the time between the first reading and the last.
func (g *glance) over() (d time.Duration) {
	for _, c := range g.run.conns {
		d = max(d, c.lastSeen().at-c.seen[0].since)
	}
	if n := len(g.acks); n > 0 {
		d = max(d, g.acks[n-1].at-g.acks[0].at)
	}
	return d
}

func (g *glance) counters() (t told) {
	if len(g.acks) == 0 {
		return t
	}
	first, last := g.acks[0].body.Sample, g.acks[len(g.acks)-1].body.Sample
	t.from = g.acks[0].at
	if last.Pending.OK() {
		t.known, t.waiting = true, last.Pending.N
	}
	if last.Active.OK() && last.Active.N > t.waiting {
		t.known, t.waiting = true, last.Active.N
	}
	if _, restarted := beatstats.Epoch(first, last); len(g.acks) < 2 || restarted || !first.Acked.OK() || !last.Acked.OK() {
		return t
	}
	t.moved = last.Acked.N > first.Acked.N
	waits := func(v *beatstats.Value) bool { return v.OK() && v.N > 0 }
	t.sent = waits(first.Active) && waits(last.Active)
	if !t.moved && t.waiting > 0 && (waits(first.Pending) || t.sent) {
		t.stood = g.acks[len(g.acks)-1].at - t.from
	}
	return t
}

// shipper says how the shipper is: as the worst of its connections.
func (g *glance) shipper() ShipperCheck {
	s := ShipperCheck{Name: g.run.shipper, Counters: g.countersCheck(), Notes: g.remarks()}
	switch {
	case slices.ContainsFunc(g.parties, func(p reading[*timeline.Party]) bool { return p.body.Change == timeline.Exited }):
		s.Health, s.Why, s.Next = Untold, "its process ended while it was looked at", "run it again: something may have started it anew"
	case g.looked.near.n == 0:
		s.Health = Untold
		s.Why, s.Next = g.unseen()
	case len(g.conns) == 0:
		s.Count = map[Health]int{}
		s.Health, s.Class, s.Why = g.unconnected()
		if s.Health == Stuck {
			s.Stood = &g.says.stood
		}
		s.Next = next(s.Health, s.Class, nil)
	default:
		g.connections(&s)
	}
	return s
}

func (g *glance) connections(s *ShipperCheck) {
	s.Count = map[Health]int{}
	for _, c := range g.conns {
		s.Connections = append(s.Connections, g.connection(c))
	}
	slices.SortStableFunc(s.Connections, func(a, b ConnCheck) int {
		return cmp.Or(worse(a.Health, b.Health), -cmp.Compare(a.standing(), b.standing()))
	})
	for _, c := range s.Connections {
		s.Count[c.Health]++
		s.Unacked += uint64(c.Unacked)
		if deref(c.Stood) > deref(s.Stood) {
			s.Stood = c.Stood
		}
	}
	worst := s.Connections[0]
	s.Health, s.Class, s.Confidence, s.Why = worst.Health, worst.Class, worst.Confidence, worst.Why
	if n := len(g.conns); n > 1 {
		s.Why = fmt.Sprintf("%d of %d connections: %s", s.Count[worst.Health], n, s.Why)
	}
	if n := len(s.Connections); n > mostConns {
		s.Connections = s.Connections[:mostConns]
		s.Notes = append(s.Notes, fmt.Sprintf("%d connections more are counted and not listed", n-mostConns))
	}
}

// unconnected: a shipper may connect only when it has something to send, and waits
// between two attempts.
func (g *glance) unconnected() (Health, Class, string) {
	none := fmt.Sprintf("it has no connection to port %v", []uint16(g.header.Ports))
	t := g.says
	switch {
	case !t.known:
		return Untold, "", none + ", and whether anything waits is not known"
	case t.moved:
		return Untold, "", none + ", and yet acks move: it ships to another port; name that by --port"
	case t.waiting == 0:
		return Idle, "", none + ", and nothing waits"
	case t.stood >= g.th.StallAfter:
		return Stuck, NotConnected, fmt.Sprintf("%s, %s, and no ack came for %s", none, waits(t.waiting), round(t.stood))
	}
	return Untold, NotConnected, fmt.Sprintf("%s now, and %s: it may be between two attempts", none, waits(t.waiting))
}

func waits(events int64) string {
	if events == 1 {
		return "1 event waits"
	}
	return fmt.Sprintf("%d events wait", events)
}

func (g *glance) countersCheck() *CountersCheck {
	if len(g.acks) == 0 {
		return nil
	}
	n := func(v *beatstats.Value) *int64 {
		if !v.OK() {
			return nil
		}
		return &v.N
	}
	first, last := g.acks[0].body.Sample, g.acks[len(g.acks)-1].body.Sample
	c := &CountersCheck{Acked: n(last.Acked), Active: n(last.Active), Pending: n(last.Pending), Capacity: n(last.Capacity)}
	if _, restarted := beatstats.Epoch(first, last); len(g.acks) > 1 && !restarted && first.Acked.OK() && last.Acked.OK() {
		by := last.Acked.N - first.Acked.N
		c.AckedBy = &by
	}
	return c
}

// remarks are what else was seen of the shipper: readings that failed, counters
// that are wrong, remains of connections that it gave up.
func (g *glance) remarks() (list []string) {
	if why := g.whyUnread(); why != "" {
		list = append(list, "its counters could not be read"+why)
	}
	for _, d := range g.doubts {
		list = append(list, d.text)
	}
	left := map[sockstate.State]int{}
	for _, c := range g.run.conns {
		if k := c.lastSeen().sock; c.gone == 0 && !alive(k) {
			left[k.State]++
		}
	}
	for state := sockstate.Established; state <= sockstate.NewSynRecv; state++ {
		if n := left[state]; n > 0 {
			list = append(list, fmt.Sprintf("of connections that were closed the kernel keeps %d in %s", n, state))
		}
	}
	return list
}

// unseen is why the shipper's sockets were not read, and what to do about it.
func (g *glance) unseen() (why, next string) {
	for _, f := range g.failures {
		if f.body.Source == "sockets of "+g.run.shipper {
			return "its sockets could not be read: " + f.body.Error, nextTry
		}
	}
	return "its sockets were not read in time", nextTime
}
