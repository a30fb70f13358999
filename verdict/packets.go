package verdict

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"halfopen/capture"
	"halfopen/flow"
	"halfopen/timeline"
)

// view is what a capture saw of one connection at one interface of a place.
type view struct {
	at    string
	n     uint64 // record of what it holds
	first time.Time
	signs []seenSign
	// shared says that several shippers are in the place's namespace.
	shared bool
	capture.Connection
}

// seenSign is a packet with SYN, FIN or RST, and the record that tells of it.
type seenSign struct {
	capture.Sign
	n uint64
}

// of names the interface.
func (v *view) of() string { return v.at + ":" + v.Interface }

// views sorts the records of packets by connection, place and interface, in the
// order of their first ones. A 4-tuple that is used again begins anew.
func (r *run) views() (list []*view) {
	type key struct {
		at, name string
		flow     flow.Flow
	}
	live := map[key]*view{}
	for _, k := range r.packets {
		places := append([]string{k.body.At}, k.body.Also...)
		shippers := 0
		for _, at := range places {
			if r.role(at) == timeline.Shipper {
				shippers++
			}
		}
		for _, at := range places {
			of, first := key{at, k.body.Interface, k.body.Flow}, began(k.body.Connection)
			v := live[of]
			if v == nil || !v.first.Equal(first) {
				v = &view{at: at, first: first, shared: shippers > 1}
				live[of] = v
				list = append(list, v)
			}
			v.Connection, v.n = k.body.Connection, k.n
			for _, s := range k.body.Signs {
				v.signs = append(v.signs, seenSign{s, k.n})
			}
		}
	}
	return list
}

// began is the time of a connection's first packet.
func began(c capture.Connection) time.Time {
	if c.Toward.First.IsZero() || !c.From.First.IsZero() && c.From.First.Before(c.Toward.First) {
		return c.From.First
	}
	return c.Toward.First
}

// others finds the views of one connection among many.
type others struct {
	based map[uint32][]*view // by the number of the client's SYN
	flows map[flow.Flow][]*view
	nat   map[flow.Flow]flow.Flow // as the receiver knows them
}

func (r *run) othersOf(views []*view) others {
	o := others{map[uint32][]*view{}, map[flow.Flow][]*view{}, map[flow.Flow]flow.Flow{}}
	for _, v := range views {
		o.flows[v.Flow] = append(o.flows[v.Flow], v)
		if v.opened() {
			o.based[*v.Toward.Base] = append(o.based[*v.Toward.Base], v)
		}
	}
	for _, k := range r.tracked {
		for _, e := range k.body.Entries {
			o.nat[e.Orig] = e.Receiver().Reverse()
		}
	}
	for _, k := range r.notices {
		o.nat[k.body.Event.Entry.Orig] = k.body.Event.Entry.Receiver().Reverse()
	}
	return o
}

// refused reports whether a SYN was all that the connection came to.
func (v *view) refused() bool { return v.Toward.Opened && !v.From.Opened && v.From.Plain == 0 }

func (v *view) opened() bool { return v.Toward.Opened && v.Toward.Base != nil }

// of are the other views of a connection. The numbers of its SYNs pass a NAT
// unchanged; of one whose SYN was not captured conntrack, or an equal 4-tuple, tells.
func (o others) of(v *view) (list []*view) {
	found := slices.Concat(o.flows[v.Flow], o.flows[o.nat[v.Flow]])
	if v.opened() {
		found = slices.Concat(o.based[*v.Toward.Base], found)
	}
	for _, x := range found {
		if x == v || slices.Contains(list, x) || x.Remote.Port() != v.Remote.Port() {
			continue
		}
		if x.opened() && v.opened() && (*x.Toward.Base != *v.Toward.Base || x.From.Opened && v.From.Opened && x.From.Base != nil && v.From.Base != nil && *x.From.Base != *v.From.Base) {
			continue
		}
		list = append(list, x)
	}
	return list
}

// mostEnds is how many ends of connections a verdict tells of, resets first, the
// newest of each. The judged connection's come first, those that were refused last.
const mostEnds = 5

// Rules of findings about ends.
const (
	whoReset  = "who reset"
	whoClosed = "who closed"
	lostEnd   = "lost on the way"
)

// tellPackets says what the captured packets show: how far the judged connection
// got at each place, and who ended connections.
func (j *judge) tellPackets() {
	if len(j.packets) == 0 {
		return
	}
	views := j.views()
	j.all = views
	home, all := j.home(views), j.othersOf(views)
	var ours, ends, refused []Finding // of the judged connection, of others, of those that came to nothing
	told := map[flow.Flow]bool{}
	for _, v := range views {
		if v.at != home || !j.isOurs(v) {
			continue
		}
		others := all.of(v)
		if j.conn != nil && v.Flow == j.conn.flow && !told[v.Flow] {
			told[v.Flow] = true
			j.farAsPackets(v, others)
		}
		list := &ends
		switch {
		case v.refused():
			list = &refused
		case j.conn != nil && v.Flow == j.conn.flow:
			list = &ours
		}
		*list = append(*list, j.endsOf(v, others)...)
	}
	slices.Reverse(ends)
	slices.Reverse(refused)
	slices.SortStableFunc(ends, func(a, b Finding) int { // a reset says more than a close
		return strings.Compare(strings.Replace(b.Rule, lostEnd, whoReset, 1), strings.Replace(a.Rule, lostEnd, whoReset, 1))
	})
	ends = slices.Concat(ours, ends, refused)
	j.v.Findings = append(j.v.Findings, ends[:min(len(ends), mostEnds)]...)
	if more := len(ends) - mostEnds; more > 0 {
		j.find("packets", fmt.Sprintf("%d more ends of connections were captured; the records of packets have them", more), ends[mostEnds].Records...)
	}
}

// home is the place whose connections are told of: the shipper's, else the first
// that was captured.
func (j *judge) home(views []*view) string {
	for _, v := range views {
		if v.at == j.shipper {
			return v.at
		}
	}
	if len(views) == 0 {
		return ""
	}
	return views[0].at
}

// isOurs reports whether a connection is the shipper's. Of several shippers in one
// namespace only their sockets tell.
func (j *judge) isOurs(v *view) bool {
	if j.header.Canary != nil && v.Local.Addr() == *j.header.Canary {
		return false
	}
	return !v.shared || slices.ContainsFunc(j.conns, func(c *conn) bool { return c.flow == v.Flow })
}

// farAsPackets tells how far the judged connection got, at each end that was captured.
func (j *judge) farAsPackets(v *view, others []*view) {
	ends, records := []*view{v}, []uint64{v.n}
	for _, o := range others {
		if o.at != v.at && j.role(o.at) != timeline.Router {
			ends, records = append(ends, o), append(records, o.n)
		}
	}
	var parts []string
	for _, e := range ends {
		parts = append(parts, fmt.Sprintf("at %s toward the port %s; from it %s", e.of(), j.halfWords(e.Toward), j.halfWords(e.From)))
	}
	j.find("packets", strings.Join(parts, ". "), records...)
	for _, d := range []capture.Direction{capture.Toward, capture.From} {
		for _, e := range ends[1:] {
			j.lostPackets(d, v, e)
		}
	}
}

// lostPackets says that one direction ends between two places: what left the one
// for the last while never came to the other.
func (j *judge) lostPackets(d capture.Direction, near, far *view) {
	from, to := near, far
	if d == capture.From {
		from, to = far, near
	}
	sent, came := from.Of(d), to.Of(d)
	lost := sent.LastMono - came.LastMono
	if sent.Packets == 0 || lost < j.th.Fresh || sent.Way != capture.Out {
		return
	}
	j.find("packets lost", fmt.Sprintf("what left %s in the last %s did not arrive at %s: the last packet left at %s, the last one came at %s",
		from.of(), round(lost), to.of(), j.clock(sent.LastMono), j.clock(came.LastMono)), from.n, to.n)
}

func (j *judge) halfWords(h capture.Half) string {
	if h.Packets == 0 {
		return "nothing"
	}
	s := count(h.Packets, "packet")
	if h.Retransmits > 0 {
		s += fmt.Sprintf(", %s sent again", count(h.Retransmits, "segment"))
	}
	if h.Late > 0 {
		s += fmt.Sprintf(", %s late", count(h.Late, "segment"))
	}
	if h.Next != nil && h.Acked != nil {
		s += fmt.Sprintf(", byte %d of %d acknowledged", max(*h.Acked-1, 0), max(*h.Next-1, 0))
	}
	return s + ", the last at " + j.clock(h.LastMono)
}
