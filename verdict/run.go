package verdict

import (
	"slices"
	"time"

	"halfopen/flow"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// run is a recording sorted by what the judge asks of it. All times are
// monotonic; wall turns them back.
type run struct {
	header   *timeline.Header
	first    timeline.Record
	last     timeline.Record // the last reading: what follows it is the end of the recording, not of the watch
	end      *timeline.End
	acks     []reading[*timeline.Stats] // of the shipper, oldest first
	conns    []*conn                    // of the shipper to the watched ports
	far      []*conn                    // of the receiver
	faults   []reading[*timeline.Fault]
	drops    []reading[*timeline.Drops]
	canary   []reading[*timeline.Canary]
	tracked  []reading[*timeline.Conntrack]
	events   []reading[*timeline.Event]
	parties  []reading[*timeline.Party]
	settings []reading[*timeline.Settings]
	failures []reading[*timeline.Failure]

	cut  *cut
	conn *conn // the one that is judged
}

// reading is a record's body with its place in the recording.
type reading[T any] struct {
	n        uint64
	from, at time.Duration // monotonic: when the reading began, and when it was complete
	body     T
}

// conn is a connection's life as the readings saw it.
type conn struct {
	flow   flow.Flow
	cookie uint64
	seen   []sighting
	// gone is the reading after the last sighting, which no longer had it; zero
	// where it was there to the end.
	gone  time.Duration
	goneN uint64
}

// sighting is a socket in one record, which stands for all readings since; the
// ages in it are those of the last reading, at.
type sighting struct {
	n         uint64
	since, at time.Duration
	sock      sockstate.Socket
}

// lastRead is when the kernel last received data on the connection; false where
// the reading has no tcp_info.
func (s sighting) lastRead() (time.Duration, bool) {
	if s.sock.Info == nil {
		return 0, false
	}
	return s.at - s.sock.Info.LastDataRecv, true
}

func (c *conn) lastSeen() sighting { return c.seen[len(c.seen)-1] }

// seenAt returns the last sighting not after t, and whether the connection was there.
func (c *conn) seenAt(t time.Duration) (sighting, bool) {
	if c.gone != 0 && t >= c.gone {
		return sighting{}, false
	}
	var best sighting
	ok := false
	for _, s := range c.seen {
		if s.since > t {
			break
		}
		best, ok = s, true
	}
	return best, ok
}

func read(rec *timeline.Recording) *run {
	r := &run{header: rec.Header(), first: rec.Records[0], last: rec.Records[0], end: rec.End()}
	near, far := sockets{}, sockets{}
	shipper := r.header.Shipper()
	for _, k := range rec.Records {
		if k.Stats != nil || k.Sockets != nil || k.Canary != nil {
			r.last = k
		}
		switch {
		case k.Stats != nil && k.Stats.At == shipper:
			put(&r.acks, k, k.Stats)
		case k.Sockets != nil && k.Sockets.At == shipper:
			near.add(k, r.header.Ports, false)
		case k.Sockets != nil && r.role(k.Sockets.At) == timeline.Receiver:
			far.add(k, r.header.Ports, true)
		case k.Fault != nil:
			put(&r.faults, k, k.Fault)
		case k.Drops != nil:
			put(&r.drops, k, k.Drops)
		case k.Canary != nil:
			put(&r.canary, k, k.Canary)
		case k.Conntrack != nil:
			put(&r.tracked, k, k.Conntrack)
		case k.Event != nil:
			put(&r.events, k, k.Event)
		case k.Party != nil:
			put(&r.parties, k, k.Party)
		case k.Settings != nil:
			put(&r.settings, k, k.Settings)
		case k.Failure != nil:
			put(&r.failures, k, k.Failure)
		}
	}
	r.conns, r.far = near.conns, far.conns
	r.cut = r.findCut()
	return r
}

func put[T any](list *[]reading[T], k timeline.Record, body T) {
	*list = append(*list, reading[T]{n: k.N, from: k.Mono - k.Took, at: k.Mono, body: body})
}

func (r *run) role(place string) string {
	for _, p := range r.header.Places {
		if p.Name == place {
			return p.Role
		}
	}
	return ""
}

// sysctls are those of the shipper's place, nil where they were not read.
func (r *run) sysctls() *sockstate.Sysctls {
	for _, p := range r.header.Places {
		if p.Role == timeline.Shipper {
			return p.Sysctls
		}
	}
	return nil
}

// wall is the wall clock at a monotonic time, by the first record's two clocks:
// one offset for the whole recording, so that a step of the clock moves nothing.
func (r *run) wall(mono time.Duration) time.Time {
	return r.first.Time.UTC().Add(mono - r.first.Mono)
}

// sockets gathers connections from readings of one place.
type sockets struct {
	conns []*conn
	live  []*conn
}

// add takes a reading. Of a receiver (local), the watched port is the local one;
// of a shipper the remote one. Listeners are no connections.
func (s *sockets) add(k timeline.Record, ports flow.Ports, local bool) {
	since := k.Mono - k.Took
	if k.Sockets.Since != 0 {
		since = k.Sockets.Since
	}
	var live []*conn
	for _, sock := range k.Sockets.Sockets {
		end := sock.Remote
		if local {
			end = sock.Local
		}
		if sock.State == sockstate.Listen || !ports.Has(end.Port()) {
			continue
		}
		c := s.find(sock)
		c.seen = append(c.seen, sighting{n: k.N, since: since, at: k.Mono - k.Took, sock: sock})
		live = append(live, c)
	}
	for _, c := range s.live {
		if !slices.Contains(live, c) {
			c.gone, c.goneN = since, k.N
		}
	}
	s.live = live
}

// find returns the connection that a socket is of, a new one if it was not in
// the reading before. A minisocket (TIME_WAIT) has a cookie of its own and is the
// rest of the connection with the same 4-tuple.
func (s *sockets) find(sock sockstate.Socket) *conn {
	for _, c := range s.live {
		if c.flow == sock.Flow && (c.cookie == sock.Cookie || sock.Info == nil) {
			return c
		}
	}
	c := &conn{flow: sock.Flow, cookie: sock.Cookie}
	s.conns = append(s.conns, c)
	return c
}

// mapped returns the judged connection as the receiver sees it: by the router's
// conntrack table where there is one, else the same 4-tuple from the other side.
func (r *run) mapped(f flow.Flow) (far flow.Flow, record uint64, ok bool) {
	for _, k := range r.tracked {
		for _, e := range k.body.Entries {
			if e.Orig == f {
				return e.Receiver(), k.n, true
			}
		}
	}
	far = f.Reverse()
	return far, 0, slices.ContainsFunc(r.far, func(c *conn) bool { return c.flow == far })
}
