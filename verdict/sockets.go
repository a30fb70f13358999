package verdict

import (
	"time"

	"halfopen/flow"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// conn is a connection's life as the readings saw it.
type conn struct {
	flow   flow.Flow
	cookie uint64
	inode  uint32 // 0: no process was seen to hold it
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

// sockets gathers connections from readings of one place.
type sockets struct {
	not   map[uint32]bool    // inodes of sockets that are left out
	out   map[flow.Flow]bool // what was left out: closed, it has no inode any more
	conns []*conn
	since string                // boot of the readings, where it is known
	live  map[flow.Flow][]*conn // those of the last reading; a crowd is looked up, not searched
}

func newSockets(not map[uint32]bool) *sockets {
	return &sockets{not: not, out: map[flow.Flow]bool{}, live: map[flow.Flow][]*conn{}}
}

// add takes a reading. Of a receiver (local), the watched port is the local one;
// of a shipper the remote one. Listeners are no connections.
func (s *sockets) add(k timeline.Record, ports flow.Ports, local bool) {
	since := k.Mono - k.Took
	if k.Sockets.Since != 0 {
		since = k.Sockets.Since
	}
	for _, sock := range k.Sockets.Sockets {
		end := sock.Remote
		if local {
			end = sock.Local
		}
		if sock.State == sockstate.Listen || !ports.Has(end.Port()) || s.leftOut(sock) {
			continue
		}
		c := s.find(sock, k.N)
		c.seen = append(c.seen, sighting{n: k.N, since: since, at: k.Mono - k.Took, sock: sock})
	}
	for f, list := range s.live {
		there := list[:0]
		for _, c := range list {
			if c.lastSeen().n == k.N {
				there = append(there, c)
			} else {
				c.gone, c.goneN = since, k.N
			}
		}
		if s.live[f] = there; len(there) == 0 {
			delete(s.live, f)
		}
	}
}

// boot tells of which boot the next reading is: no connection outlives one, though
// another may look the same.
func (s *sockets) boot(id string, k timeline.Record) {
	if s.since != "" && id != s.since {
		for _, list := range s.live {
			for _, c := range list {
				c.gone, c.goneN = k.Mono-k.Took, k.N
			}
		}
		clear(s.live)
	}
	s.since = id
}

func (s *sockets) leftOut(sock sockstate.Socket) bool {
	if s.not[sock.Inode] {
		s.out[sock.Flow] = true
		return true
	}
	return sock.Inode == 0 && s.out[sock.Flow]
}

// is reports whether a socket is of the connection. A minisocket (TIME_WAIT) has a
// cookie of its own and is the rest of the connection with the same 4-tuple; in
// /proc there are no cookies, and a 4-tuple that is used again has another inode.
func (c *conn) is(sock sockstate.Socket) bool {
	switch {
	case c.flow != sock.Flow:
		return false
	case sock.Info == nil && sock.Proc == nil:
		return true
	case c.cookie != sock.Cookie:
		return false
	}
	return c.inode == 0 || sock.Inode == 0 || c.inode == sock.Inode
}

// find returns the connection that a socket of reading n is of, a new one if it was
// not in the reading before.
func (s *sockets) find(sock sockstate.Socket, n uint64) *conn {
	for _, c := range s.live[sock.Flow] {
		if c.seen[0].n != n && c.is(sock) {
			if c.inode == 0 {
				c.inode = sock.Inode
			}
			return c
		}
	}
	c := &conn{flow: sock.Flow, cookie: sock.Cookie, inode: sock.Inode}
	s.conns = append(s.conns, c)
	s.live[sock.Flow] = append(s.live[sock.Flow], c)
	return c
}
