package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"halfopen/collect"
	"halfopen/lab"
	"halfopen/middlebox"
	"halfopen/timeline"
)

// What a method does beside its rules, or instead of them.

func (x *experiment) mark(text string) {
	x.rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: text}})
}

// backlog is how many long lines come at once, where a party is to be given more
// than it takes.
const backlog = 100

// stopReceiver stops the receiver's process: its kernel goes on acknowledging
// until the buffer of its socket is full. Nothing must be under way then: the
// shipper has only so many batches in flight, and they are to be great ones.
func (x *experiment) stopReceiver(ctx context.Context) error {
	x.lines.Pause()
	defer x.lines.Resume()
	for limit := time.Now().Add(patience); x.acked.Load() < int64(x.lines.Lines()) && time.Now().Before(limit); {
		if err := wait(ctx, socketsEvery); err != nil {
			return err
		}
	}
	if err := x.receiver.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	x.mark(fmt.Sprintf("the receiver was stopped (SIGSTOP), and %d long lines were written at once", backlog))
	x.lines.Burst(backlog)
	return nil
}

// blockReceiver lets the receiver wait in the writes of its output.
func (x *experiment) blockReceiver(context.Context) error {
	x.valve.Shut()
	x.blocked = true
	x.mark("the receiver's output was blocked")
	x.lines.Burst(1) // longer than what the pipe to its output holds
	return nil
}

func (x *experiment) killReceiver(context.Context) error { return x.receiver.Kill() }

// expiryMargin is how much longer than its timeout an entry may be seen: the
// kernel tells its time in whole seconds.
const expiryMargin = 10 * time.Second

// fallIdle lets nothing flow until the router has forgotten the shipper's
// connection. Its entry takes the short timeout with its next packet.
func (x *experiment) fallIdle(ctx context.Context) error {
	if ok, err := x.entry(ctx, func(e *middlebox.Entry) bool { return e != nil && e.Timeout <= x.opts.idle }); !ok {
		return err
	}
	x.lines.Pause()
	defer x.lines.Resume()
	x.mark("the log grows no more, until the router has forgotten the connection")
	if ok, err := x.entry(ctx, func(e *middlebox.Entry) bool { return e == nil }); !ok {
		return err
	}
	x.mark("the router has forgotten the connection; the log grows again")
	return nil
}

// entry waits until the router's entry of the shipper's connection, nil for none,
// is as it should be. If it does not become so the recording says so, and the
// experiment goes on.
func (x *experiment) entry(ctx context.Context, is func(*middlebox.Entry) bool) (ok bool, err error) {
	within := x.opts.idle + expiryMargin
	for limit := time.Now().Add(within); ; {
		entries, err := x.table.List()
		if err != nil {
			return false, err
		}
		var entry *middlebox.Entry
		if i := slices.IndexFunc(entries, func(e middlebox.Entry) bool { return e.Orig.Local.Addr() == lab.ShipperAddr }); i >= 0 {
			entry = &entries[i]
		}
		if is(entry) {
			return true, nil
		}
		if time.Now().After(limit) {
			x.mark(fmt.Sprintf("the router has not forgotten the connection within %s: something still flows, or it was idle before", within))
			return false, nil
		}
		if err := wait(ctx, conntrackEvery); err != nil {
			return false, err
		}
	}
}

// partyLives records the ends of parties, those that are started in mid-run too.
type partyLives chan *lab.Party

func (l partyLives) Run(ctx context.Context, rec *collect.Recorder) error {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-l:
			all.Go(func() {
				select {
				case <-ctx.Done():
				case <-p.Done():
					rec.Append(0, timeline.Body{Party: &timeline.Party{Name: p.Name, At: p.Role, Change: timeline.Exited, PID: p.PID, How: p.How(), ByUs: p.ByUs()}})
				}
			})
		}
	}
}
