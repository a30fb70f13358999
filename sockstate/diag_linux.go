package sockstate

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
)

const (
	// dumpTimeout bounds a dump with all its tries; 200,000 sockets take some 20 ms.
	dumpTimeout = 10 * time.Second
	dumpTries   = 5
	dumpBuffer  = 64 << 10 // the kernel fills at most 32 KiB a message
)

// Diag reads the sockets of one network namespace by inet_diag
// (NETLINK_SOCK_DIAG). It needs no rights beyond those to enter the namespace.
// Its methods may be called from several goroutines; they wait for each other.
type Diag struct {
	ns     *netns.NS
	ports  flow.Ports
	filter []byte

	mu    sync.Mutex
	conn  *netlink.Conn
	stats Stats

	// For Lookup: a socket of its own, and buffers that are used again.
	fd      int // -1 once closed
	request [nlmsghdrLen + reqLen]byte
	reply   [8 << 10]byte
	n       int // bytes of reply
}

// Stats counts the dumps that had to be read again.
type Stats struct {
	// Interrupted: NLM_F_DUMP_INTR, the table changed under the kernel's walk.
	// Kernels up to 6.18 never say so of sockets (net/ipv4/inet_diag.c does not
	// call nl_dump_check_consistent): a socket that comes or goes during a dump is
	// in it or not, and no reading is the worse for it.
	Interrupted uint64 `json:"interrupted"`
	Overruns    uint64 `json:"overruns"` // ENOBUFS: replies were lost
}

// OpenDiag opens the socket table of a namespace, which must stay open as long
// as the Diag; nil is the caller's own. Dump and its port filter watch ports.
func OpenDiag(ns *netns.NS, ports flow.Ports) (*Diag, error) {
	filter, err := anyPort(ports)
	if err != nil {
		return nil, err
	}
	d := &Diag{ns: ns, ports: ports, filter: filter}
	if err := d.dial(); err != nil {
		return nil, err
	}
	if d.fd, err = openLookup(ns); err != nil {
		d.conn.Close()
		return nil, fmt.Errorf("open inet_diag: %w", err)
	}
	return d, nil
}

// dial opens a netlink socket inside the namespace, which is where the kernel
// then looks for sockets.
func dial(ns *netns.NS, bufferSize int) (*netlink.Conn, error) {
	conn, err := netns.Netlink(ns, unix.NETLINK_SOCK_DIAG, &netlink.Config{MessageBufferSize: bufferSize})
	if err != nil {
		return nil, fmt.Errorf("open inet_diag: %w", err)
	}
	return conn, nil
}

func (d *Diag) dial() error {
	conn, err := dial(d.ns, dumpBuffer)
	if err != nil {
		return err
	}
	if d.conn != nil {
		d.conn.Close()
	}
	d.conn = conn
	return nil
}

// Close lets go of the kernel's socket table.
func (d *Diag) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fd >= 0 {
		unix.Close(d.fd)
		d.fd = -1
	}
	return d.conn.Close()
}

// Stats returns the counts so far.
func (d *Diag) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// Dump returns the sockets that have one end on a watched port, IPv4 and IPv6,
// in all states. The kernel does the selection. An empty set of ports has none.
// A dump that the kernel marks as inconsistent, or of which it lost a part, is
// read again; after a few such an error wraps the cause.
func (d *Diag) Dump() ([]Socket, error) {
	if len(d.ports) == 0 {
		return nil, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	deadline := time.Now().Add(dumpTimeout)
	for try := 1; ; try++ {
		socks, err := d.dumpOnce(deadline)
		if err == nil {
			return socks, nil
		}
		again := d.stats.count(err)
		// What is left of the failed dump would be taken for the next answer.
		if err := d.dial(); err != nil {
			return nil, fmt.Errorf("dump sockets: %w", err)
		}
		if !again || try == dumpTries {
			return nil, fmt.Errorf("dump sockets: %w", err)
		}
	}
}

var errInterrupted = errors.New("the table changed while it was dumped (NLM_F_DUMP_INTR)")

// count notes a failed dump and reports whether it is worth another try.
func (s *Stats) count(err error) bool {
	switch {
	case errors.Is(err, errInterrupted):
		s.Interrupted++
	case errors.Is(err, unix.ENOBUFS):
		s.Overruns++
	default:
		return false
	}
	return true
}

func (d *Diag) dumpOnce(deadline time.Time) ([]Socket, error) {
	if err := d.conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	msgs, err := d.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: getTCP, Flags: netlink.Request | netlink.Dump},
		Data:   dumpRequest(d.filter),
	})
	if err != nil {
		return nil, err
	}
	return decodeDump(msgs)
}

func decodeDump(msgs []netlink.Message) ([]Socket, error) {
	socks := make([]Socket, 0, len(msgs))
	for _, m := range msgs {
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			return nil, errInterrupted
		}
		socks = append(socks, Socket{})
		if err := decode(m.Data, &socks[len(socks)-1]); err != nil {
			return nil, err
		}
	}
	return socks, nil
}
