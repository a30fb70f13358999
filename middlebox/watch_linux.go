package middlebox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"halfopen/netns"
)

// EventKind says what an Event tells.
type EventKind string

// The kinds of events.
const (
	Watching EventKind = "WATCHING" // from here on every change is told; no entry
	Present  EventKind = "PRESENT"  // a rule that was there when watching began
	New      EventKind = "NEW"      // the first packet of a connection passed all rules
	Update   EventKind = "UPDATE"   // another state or status
	Counted  EventKind = "COUNTED"  // a rule that came while it was watched met its first packets
	Destroy  EventKind = "DESTROY"  // expired or deleted
	Overrun  EventKind = "OVERRUN"  // events before this one were lost: List again; no entry
)

// Event is a change of the connection tracking table.
type Event struct {
	Kind  EventKind `json:"kind"`
	Time  time.Time `json:"time"`            // when it was read; with nf_conntrack_timestamp the entry tells more
	Entry *Entry    `json:"entry,omitempty"` // nil for WATCHING and OVERRUN
}

// readBuffer holds the events that wait, about 4000 on a 64-bit kernel.
const readBuffer = 4 << 20

// Watch calls fn for each change of an entry that has a watched port, until ctx
// ends; then it returns nil. The first event is WATCHING.
//
// With net.netfilter.nf_conntrack_events = 2, the default since Linux 5.19, the
// kernel tells nothing of entries made while nobody in the namespace watched,
// not even their end: watch before the connection begins, or set it to 1.
func (c *Conntrack) Watch(ctx context.Context, fn func(Event)) error {
	conn, err := netns.Netlink(c.ns, unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("watch conntrack: %w", err)
	}
	defer conn.Close()
	if err := conn.SetReadBuffer(readBuffer); err != nil {
		return fmt.Errorf("watch conntrack: %w", err)
	}
	filter, err := eventFilter(c.ports)
	if err == nil && filter != nil {
		err = conn.SetBPF(filter)
	}
	if err != nil {
		return fmt.Errorf("watch conntrack: %w", err)
	}
	for _, group := range []uint32{unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_UPDATE, unix.NFNLGRP_CONNTRACK_DESTROY} {
		if err := conn.JoinGroup(group); err != nil {
			return fmt.Errorf("watch conntrack: %w", err)
		}
	}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	fn(Event{Kind: Watching, Time: time.Now()})
	for overrun := false; ; {
		// A full socket takes nothing until it is empty again, and complains
		// once (netlink_overrun in net/netlink/af_netlink.c): what waits in it
		// is older than what was lost.
		if overrun && empty(conn) {
			overrun = false
			fn(Event{Kind: Overrun, Time: time.Now()})
		}
		msgs, err := conn.Receive()
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			overrun = true
			continue
		case err != nil:
			return fmt.Errorf("watch conntrack: %w", err)
		}
		for _, m := range msgs {
			e, ok, err := decode(m.Data)
			if err != nil {
				return err
			}
			if kind := kindOf(m.Header); ok && kind != "" && e.Match(c.ports) {
				fn(Event{Kind: kind, Time: now, Entry: &e})
			}
		}
	}
}

// empty reports whether no message waits to be received.
func empty(conn *netlink.Conn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var peek error
	err = raw.Control(func(fd uintptr) {
		_, _, peek = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err == nil && errors.Is(peek, unix.EAGAIN)
}

// kindOf is empty for a message that is no event of the table.
func kindOf(h netlink.Header) EventKind {
	switch {
	case h.Type == messageType(ipctnlMsgCtDelete):
		return Destroy
	case h.Type == messageType(ipctnlMsgCtNew) && h.Flags&netlink.Create != 0:
		return New
	case h.Type == messageType(ipctnlMsgCtNew):
		return Update
	}
	return ""
}
