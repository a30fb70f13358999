package middlebox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"halfopen/netns"
)

// WatchLinks calls fn with each interface of a namespace by which packets to one
// of the addresses leave: once a period with its counters, and for each change of
// its state as the kernel tells it, then without counters. It needs no rights. It
// returns nil when ctx ends.
func WatchLinks(ctx context.Context, ns *netns.NS, every time.Duration, toward func() []netip.Addr, fn func(Link)) error {
	conn, err := netns.Netlink(ns, unix.NETLINK_ROUTE, nil)
	if err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	defer conn.Close()
	if err := conn.JoinGroup(unix.RTNLGRP_LINK); err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	w, err := openLinks(ns, toward, fn)
	if err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	defer w.handle.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for look := time.Now(); ; {
		if began := time.Now(); !began.Before(look) {
			if err := w.look(); err != nil {
				return fmt.Errorf("watch links: %w", err)
			}
			look = began.Add(max(every, lookShare*time.Since(began)))
		}
		if err := conn.SetReadDeadline(look); err != nil {
			return fmt.Errorf("watch links: %w", err)
		}
		if ctx.Err() != nil { // its deadline may have come before ours
			return nil
		}
		msgs, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS), timedOut(err):
			continue // the next look tells what is
		case err != nil:
			return fmt.Errorf("watch links: %w", err)
		}
		for _, m := range msgs {
			w.message(m)
		}
	}
}

// ReadLinks calls fn with each interface of a namespace by which packets to one of the
// addresses leave, with its counters.
func ReadLinks(ns *netns.NS, toward func() []netip.Addr, fn func(Link)) error {
	w, err := openLinks(ns, toward, fn)
	if err != nil {
		return fmt.Errorf("read links: %w", err)
	}
	defer w.handle.Close()
	if err := w.look(); err != nil {
		return fmt.Errorf("read links: %w", err)
	}
	return nil
}

func openLinks(ns *netns.NS, toward func() []netip.Addr, fn func(Link)) (*linkWatch, error) {
	w := &linkWatch{toward: toward, fn: fn, by: map[netip.Addr]int{}, names: map[int]Link{}}
	// Opened on a thread inside: the library's own way wants to come back.
	err := ns.Do(func() (err error) { w.handle, err = vnl.NewHandle(unix.NETLINK_ROUTE); return err })
	return w, err
}

// linkWatch knows by which interface each address was last reached: when one is
// down the kernel has no route by it any more.
type linkWatch struct {
	handle *vnl.Handle
	toward func() []netip.Addr
	fn     func(Link)
	by     map[netip.Addr]int
	names  map[int]Link
}

// maxToward bounds the addresses that are asked for.
const maxToward = 64

func (w *linkWatch) look() error {
	addrs := w.toward()
	if len(addrs) > 0 {
		kept := map[netip.Addr]int{}
		for _, a := range addrs[:min(len(addrs), maxToward)] {
			routes, err := w.handle.RouteGet(a.AsSlice())
			switch {
			case err == nil && len(routes) > 0:
				kept[a] = routes[0].LinkIndex
			case w.by[a] != 0:
				kept[a] = w.by[a]
			}
		}
		w.by = kept
	}
	reached := map[int][]netip.Addr{}
	for a, index := range w.by {
		reached[index] = append(reached[index], a)
	}
	if len(reached) == 0 {
		return nil
	}
	queues, err := w.queues()
	if err != nil {
		return err
	}
	for index, to := range reached {
		l := w.read(index)
		slices.SortFunc(to, netip.Addr.Compare)
		l.Toward, l.Queues = to, queues[index]
		w.names[index] = l
		w.fn(l)
	}
	return nil
}

func (w *linkWatch) read(index int) Link {
	found, err := w.handle.LinkByIndex(index)
	if err != nil {
		return gone(cmp.Or(w.names[index].Name, fmt.Sprintf("index %d", index)), index)
	}
	l := linkOf(found)
	if s := found.Attrs().Statistics; s != nil {
		l.RxErrors, l.TxErrors, l.RxDropped, l.TxDropped = &s.RxErrors, &s.TxErrors, &s.RxDropped, &s.TxDropped
	}
	return l
}

func gone(name string, index int) Link { return Link{Name: name, Index: index, State: "gone"} }

func linkOf(l vnl.Link) Link {
	a := l.Attrs()
	return Link{Name: a.Name, Index: a.Index, Kind: l.Type(), State: a.OperState.String(), MTU: a.MTU}
}

// queues reads those of all interfaces: the kernel is not asked for one's.
func (w *linkWatch) queues() (map[int][]Queue, error) {
	list, err := w.handle.QdiscList(nil)
	if err != nil {
		return nil, fmt.Errorf("list queueing disciplines: %w", err)
	}
	out := map[int][]Queue{}
	for _, q := range list {
		a := q.Attrs()
		one := Queue{Kind: q.Type(), Handle: vnl.HandleStr(a.Handle)}
		if a.Statistics != nil && a.Statistics.Queue != nil {
			one.Drops, one.Backlog = a.Statistics.Queue.Drops, a.Statistics.Queue.Backlog
		}
		out[a.LinkIndex] = append(out[a.LinkIndex], one)
	}
	return out, nil
}

// message takes a notice of a change: a link that goes down and comes up again
// between two looks is told so.
func (w *linkWatch) message(m netlink.Message) {
	if len(m.Data) < unix.SizeofIfInfomsg || m.Header.Type != unix.RTM_NEWLINK && m.Header.Type != unix.RTM_DELLINK {
		return
	}
	found, err := vnl.LinkDeserialize(nil, m.Data)
	if err != nil {
		return
	}
	l := linkOf(found)
	known, watched := w.names[l.Index]
	if !watched {
		return
	}
	if m.Header.Type == unix.RTM_DELLINK {
		l = gone(known.Name, l.Index)
	}
	if l.State != known.State || l.MTU != known.MTU {
		l.Toward = known.Toward
		w.names[l.Index] = l
		w.fn(l)
	}
}
