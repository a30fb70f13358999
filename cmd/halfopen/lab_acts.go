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
const backlog = 20

// stopReceiver stops the receiver's process: its kernel goes on acknowledging
// until the buffer of its socket is full. Nothing must be under way then: the
// shipper has only so many batches in flight, and they are to be great ones.
func (x *experiment) stopReceiver(ctx context.Context) error {
	defer x.lines.Resume()
	if err := x.drain(ctx); err != nil {
		return err
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
const expiryMargin = 5 * time.Second

// fallSilent lets nothing flow any more.
func (x *experiment) fallSilent(ctx context.Context) error {
	x.mark("the log grows no more, until the router has forgotten the connection")
	return x.drain(ctx)
}

// drain stops the log's growth and waits until all of it is acknowledged, or for
// as long as that may take.
func (x *experiment) drain(ctx context.Context) error {
	x.lines.Pause()
	for limit := time.Now().Add(patience); x.acked.Load() < int64(x.lines.Lines()) && time.Now().Before(limit); {
		if err := wait(ctx, socketsEvery); err != nil {
			return err
		}
	}
	return nil
}

// expire waits until the router has forgotten the shipper's connection, and lets
// the log grow again. If it does not forget, the recording says so.
func (x *experiment) expire(ctx context.Context) error {
	defer x.lines.Resume()
	within := x.opts.idle + expiryMargin
	for limit := time.Now().Add(within); ; {
		entries, err := x.table.List()
		if err != nil {
			return err
		}
		switch {
		case !slices.ContainsFunc(entries, func(e middlebox.Entry) bool { return e.Orig.Local.Addr() == lab.ShipperAddr }):
			x.mark("the router has forgotten the connection; the log grows again")
			return nil
		case time.Now().After(limit):
			x.mark(fmt.Sprintf("the router has not forgotten the connection within %s: something flows over it; the log grows again", within))
			return nil
		}
		if err := wait(ctx, conntrackEvery); err != nil {
			return err
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
