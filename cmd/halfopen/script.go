package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"halfopen/collect"
	"halfopen/fault"
	"halfopen/flow"
	"halfopen/lab"
	"halfopen/timeline"
)

// patience is how long it may take beyond the warm-up until acks have moved.
const patience = 15 * time.Second

// script is the experiment: deliver, break the path or a party, watch.
func (x *experiment) script(ctx context.Context) error {
	delivered, err := x.deliver(ctx)
	if err != nil || !delivered {
		return err
	}
	switch {
	case x.method.rules != nil:
		err = x.cut(ctx)
	case x.method.act != nil:
		x.rec.Phase(collect.Before)
		err = x.method.act(x, ctx)
		x.show.phase(collect.During, x.opts.watchFor, x.method.what)
		x.rec.Phase(collect.During)
	default:
		x.show.phase(collect.Before, x.opts.watchFor, fmt.Sprintf("the path stays open; deliveries are watched for %s", x.opts.watchFor))
	}
	if err != nil {
		return err
	}
	return wait(ctx, x.opts.watchFor)
}

// deliver waits until the shipper's acks have moved and the warm-up is over. A
// shipper that never delivers would make the cut meaningless: false then.
func (x *experiment) deliver(ctx context.Context) (bool, error) {
	x.show.phase(collect.Before, x.opts.warmUp, fmt.Sprintf("the path is open; deliveries are watched for %s", x.opts.warmUp))
	if err := wait(ctx, x.opts.warmUp); err != nil {
		return false, err
	}
	limit := time.Now().Add(patience)
	for !x.moved.Load() {
		if time.Now().After(limit) {
			x.rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: fmt.Sprintf("acks did not move within %s: no cut was made", x.opts.warmUp+patience)}})
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

// cut takes the method's first step, and after a while the second: new
// connections pass again, the old one does not.
func (x *experiment) cut(ctx context.Context) error {
	x.rec.Phase(collect.Before)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if x.method.lead != nil {
		if err := x.method.lead(x, ctx); err != nil {
			return err
		}
	}
	old, err := x.connections()
	if err != nil {
		return err
	}
	if err := x.step(x.fault.Cut); err != nil {
		return err
	}
	x.show.phase(collect.During, x.opts.dropFor, fmt.Sprintf("the path is cut for %s: %s", x.opts.dropFor, x.method.what))
	if x.method.act != nil { // at once: raw evidence takes its time
		if err := x.method.act(x, ctx); err != nil {
			return err
		}
	}
	x.rec.Phase(collect.During)
	if err := wait(ctx, x.opts.dropFor); err != nil {
		return err
	}
	if x.method.heal != nil {
		if err := x.method.heal(x, ctx); err != nil {
			return err
		}
	}
	says := "the path carries new connections again, the old one is not let through"
	second := func() (fault.Step, error) { return x.fault.Hold(old) }
	if x.method.pass {
		says, second = "the path carries everything again", x.fault.Pass
	}
	if err := x.step(second); err != nil {
		return err
	}
	x.show.phase(collect.After, x.opts.watchFor, fmt.Sprintf("%s; watching for %s", says, x.opts.watchFor))
	x.rec.Phase(collect.After)
	return nil
}

// connections are those that a method which does not forget them is to be told
// of: all but the canary's.
func (x *experiment) connections() ([]flow.Flow, error) {
	s, err := look(&view{name: x.method.place(), ns: x.place(x.method.place()), root: x.place(x.method.place()).ProcRoot()},
		x.ports(), func(f flow.Flow) bool { return f.Local.Addr() != lab.CanaryAddr })
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.before(x.fault.Hook()), nil
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
	x.rec.Append(step.Took, timeline.Body{Fault: &timeline.Fault{At: x.method.place(), Method: x.method.name, Step: step}})
}

// undo opens the path again, once nothing is watched any more, and completes the
// drop window.
func (x *experiment) undo() error {
	if x.fault == nil {
		return nil
	}
	err := x.fault.Undo() // the table is gone even after an error
	steps := x.fault.Window(x.method.name).Steps
	if len(steps) == 0 || steps[0].Name == fault.StepUndo {
		return err // there was no cut
	}
	if last := steps[len(steps)-1]; last.Name == fault.StepUndo {
		x.recordStep(last)
	}
	return errors.Join(err, x.writeWindow())
}

func (x *experiment) writeWindow() error {
	text, err := x.fault.Window(x.method.name).MarshalText()
	if err != nil {
		return err
	}
	x.rec.Save("drop-window.txt", "drop window", text)
	return nil
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
