package sockstate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
)

// watchBuffer holds some 5,000 notices. Without CAP_NET_ADMIN the kernel grants
// at most net.core.rmem_max.
const watchBuffer = 4 << 20

// Destroyed is the kernel's notice of a socket's end.
type Destroyed struct {
	// Socket is the last state of the socket, with its cookie and tcp_info. Its
	// State is CLOSE, its Inode 0: the descriptor is gone already.
	Socket Socket `json:"socket"`
	// Overrun says that the kernel dropped notices, since they were not read in
	// time; Socket is then empty. How many is not known, nor which: any from the
	// notice before this one up to the first moment when none is waiting.
	Overrun bool `json:"overrun,omitempty"`
}

// Watch is a subscription to the ends of TCP sockets of one namespace. From
// OpenWatch on none is missed, so open it before the first dump.
type Watch struct {
	conn  *netlink.Conn
	ports flow.Ports
}

// OpenWatch subscribes to the ends of sockets that have one end on a watched
// port. It takes no rights beyond those to enter the namespace; nil is the
// caller's own. Minisockets (TIME_WAIT, SYN_RECV) end without notice.
func OpenWatch(ns *netns.NS, ports flow.Ports) (*Watch, error) {
	conn, err := dial(ns, 0)
	if err != nil {
		return nil, fmt.Errorf("watch for the end of sockets: %w", err)
	}
	w := &Watch{conn: conn, ports: ports}
	if err := w.subscribe(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("watch for the end of sockets: %w", err)
	}
	return w, nil
}

func (w *Watch) subscribe() error {
	if err := w.conn.SetReadBuffer(watchBuffer); err != nil {
		return err
	}
	for _, group := range []uint32{unix.SKNLGRP_INET_TCP_DESTROY, unix.SKNLGRP_INET6_TCP_DESTROY} {
		if err := w.conn.JoinGroup(group); err != nil {
			return err
		}
	}
	return nil
}

// Run calls each for every notice, in the kernel's order, until ctx ends, which
// is no error. While each runs, notices wait in the socket's buffer. Run once.
func (w *Watch) Run(ctx context.Context, each func(Destroyed)) error {
	stop := context.AfterFunc(ctx, func() { w.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		msgs, err := w.conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			each(Destroyed{Overrun: true})
			continue
		case err != nil:
			return fmt.Errorf("watch for the end of sockets: %w", err)
		}
		for _, m := range msgs {
			if f, err := decodeFlow(m.Data); err == nil && !w.ports.Match(f) {
				continue
			}
			var d Destroyed
			if err := decode(m.Data, &d.Socket); err != nil {
				return fmt.Errorf("watch for the end of sockets: %w", err)
			}
			each(d)
		}
	}
}

// Close ends the subscription.
func (w *Watch) Close() error { return w.conn.Close() }

// WatchDestroy subscribes, calls each for every socket that ends until ctx does,
// and ends the subscription: OpenWatch, Run and Close in one.
func WatchDestroy(ctx context.Context, ns *netns.NS, ports flow.Ports, each func(Destroyed)) error {
	w, err := OpenWatch(ns, ports)
	if err != nil {
		return err
	}
	defer w.Close()
	return w.Run(ctx, each)
}
