package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"halfopen/collect"
	"halfopen/fault"
	"halfopen/lab"
	"halfopen/timeline"
)

// patience is how long the first delivery may take beyond the warm-up.
const patience = 15 * time.Second

// script is the experiment: deliver, cut, forget, watch.
func (x *experiment) script(ctx context.Context) error {
	delivered, err := x.deliver(ctx)
	if err != nil || !delivered {
		return err
	}
	if x.opts.method == timeline.MethodNone {
		x.show.phase(collect.Before, x.opts.watchFor)
		return wait(ctx, x.opts.watchFor)
	}
	if err := x.cut(ctx); err != nil {
		return err
	}
	x.show.phase(collect.After, x.opts.watchFor)
	return wait(ctx, x.opts.watchFor)
}

// deliver waits until the shipper's acks have moved and the warm-up is over. A
// shipper that never delivers would make the cut meaningless: false then.
func (x *experiment) deliver(ctx context.Context) (bool, error) {
	x.show.phase(collect.Before, x.opts.warmUp)
	if err := wait(ctx, x.opts.warmUp); err != nil {
		return false, err
	}
	limit := time.Now().Add(patience)
	for x.acked.Load() == 0 {
		if time.Now().After(limit) {
			x.rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: fmt.Sprintf("nothing was acknowledged within %s: no cut was made", x.opts.warmUp+patience)}})
			return false, nil
		}
		select {
		case <-x.shipper.Done():
			return false, nil // the recording says so
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(socketsEvery):
		}
	}
	return true, nil
}

// cut drops everything both ways for a while, then makes the router forget the
// flow and drop what belongs to no known one.
func (x *experiment) cut(ctx context.Context) error {
	x.rec.Phase(collect.Before)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := x.step(x.fault.DropBoth); err != nil {
		return err
	}
	over := time.After(x.opts.dropFor)
	x.show.phase(collect.During, x.opts.dropFor)
	x.rec.Phase(collect.During)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-over:
	}
	if err := x.step(x.fault.Forget); err != nil {
		return err
	}
	x.rec.Phase(collect.After)
	return nil
}

// step does one step of the fault, records it, and writes the drop window as it
// then stands: after a crash the file still says what was done.
func (x *experiment) step(do func() (fault.Step, error)) error {
	step, err := do()
	if err != nil {
		return err
	}
	x.recordStep(step)
	return x.writeWindow()
}

func (x *experiment) recordStep(step fault.Step) {
	x.rec.Append(step.Took, timeline.Body{Fault: &timeline.Fault{At: timeline.Router, Method: x.opts.method, Step: step}})
}

// undo opens the path again, once nothing is watched any more, and completes the
// drop window.
func (x *experiment) undo() error {
	err := x.fault.Undo() // the table is gone even after an error
	steps := x.fault.Window(x.opts.method).Steps
	if len(steps) == 0 || steps[0].Name == fault.StepUndo {
		return err // there was no cut
	}
	if last := steps[len(steps)-1]; last.Name == fault.StepUndo {
		x.recordStep(last)
	}
	return errors.Join(err, x.writeWindow())
}

func (x *experiment) writeWindow() error {
	text, err := x.fault.Window(x.opts.method).MarshalText()
	if err != nil {
		return err
	}
	return x.rec.Save("drop-window.txt", "drop window", text)
}

// wait waits for d, or until ctx ends, which is an error then.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// partyLife records when a party exits by itself.
type partyLife struct{ *lab.Party }

func (p partyLife) Run(ctx context.Context, rec *collect.Recorder) error {
	select {
	case <-ctx.Done():
	case <-p.Done():
		rec.Append(0, timeline.Body{Party: &timeline.Party{Name: p.Name, At: p.Role, Change: timeline.Exited, PID: p.PID, How: p.How()}})
	}
	return nil
}
