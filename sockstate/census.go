package sockstate

import (
	"net/netip"
	"slices"

	"halfopen/flow"
)

// Census counts the sockets on one port by state, from one dump.
type Census struct {
	Port uint16 `json:"port"`
	// Hex is the port in the spelling of /proc/net/tcp.
	Hex       string     `json:"port_hex"`
	Listeners []Listener `json:"listeners,omitempty"`
	// Server counts the sockets whose local port it is, Client those whose
	// remote port it is. A connection within the namespace is in both.
	Server map[State]int `json:"server,omitempty"`
	Client map[State]int `json:"client,omitempty"`
	// Orphans are among both: sockets that no process holds any more.
	Orphans int `json:"orphans"`
}

// Listener is a listening socket with its accept queue: connections that are
// established and wait for the application to take them.
type Listener struct {
	Addr    netip.AddrPort `json:"addr"`
	Waiting uint32         `json:"waiting"`
	// Backlog is the queue's limit, the smaller of listen(2)'s argument and
	// net.core.somaxconn; absent in a reading from /proc, which does not tell.
	Backlog *uint32 `json:"backlog,omitempty"`
}

// Full reports whether the queue is over its limit: the kernel lets one more in
// than the backlog says (include/net/sock.h, sk_acceptq_is_full).
func (l Listener) Full() bool { return l.Backlog != nil && l.Waiting > *l.Backlog }

// Count takes the census of each port.
func Count(socks []Socket, ports flow.Ports) []Census {
	all := make([]Census, len(ports))
	for i, p := range ports {
		c := Census{Port: p, Hex: flow.Hex(p), Server: map[State]int{}, Client: map[State]int{}}
		for _, s := range socks {
			c.add(s)
		}
		slices.SortFunc(c.Listeners, func(a, b Listener) int { return a.Addr.Compare(b.Addr) })
		all[i] = c
	}
	return all
}

func (c *Census) add(s Socket) {
	if s.Local.Port() != c.Port && s.Remote.Port() != c.Port {
		return
	}
	if s.State == Listen {
		l := Listener{Addr: s.Local, Waiting: s.RecvQ}
		if s.Proc == nil {
			l.Backlog = &s.SendQ
		}
		c.Listeners = append(c.Listeners, l)
		return
	}
	state := s.State
	if state == NewSynRecv {
		state = SynRecv
	}
	if s.Local.Port() == c.Port {
		c.Server[state]++
	}
	if s.Remote.Port() == c.Port {
		c.Client[state]++
	}
	if s.Orphan() {
		c.Orphans++
	}
}
