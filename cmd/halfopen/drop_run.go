package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"halfopen/collect"
	"halfopen/fault"
	"halfopen/flow"
	"halfopen/report"
	"halfopen/timeline"
)

// How often the counters are read, which is how well the first and the last
// packet are known, and how often they are shown.
const (
	countEvery = 20 * time.Millisecond
	tellEvery  = 5 * time.Second
)

// dropping is a drop under way.
type dropping struct {
	opts   dropOptions
	method fault.Method
	where  string
	fault  *fault.Fault
	file   string
	out    io.Writer // progress
}

func runDrop(ctx context.Context, o dropOptions, m fault.Method, stdout, stderr io.Writer) error {
	if !o.dryRun {
		if err := sweepFaults(stderr); err != nil {
			fmt.Fprintf(stderr, "halfopen: %v\n", err)
		}
	}
	v, err := o.place.open(ctx, stderr)
	if err != nil {
		return err
	}
	defer v.close()
	s, err := look(v, o.watched(), o.about)
	if err != nil {
		return err
	}
	defer s.close()
	cfg, err := o.config(m, s, stderr)
	if err != nil {
		return err
	}
	if o.dryRun {
		text, err := fault.Script(cfg, s.before(cfg.Hook))
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "# halfopen drop in %s: method %s, %s; %s, then the second step for %s\n%s", v.name, m.Name, m.What, o.cutFor, o.hold, text)
		return nil
	}
	if err := o.refuse(s, cfg); err != nil {
		return err
	}
	d := &dropping{opts: o, method: m, where: v.name, out: stderr}
	if o.quiet {
		d.out = io.Discard
	}
	if d.fault, err = fault.Open(cfg); err != nil {
		return err
	}
	if d.file, err = o.windowFile(); err != nil {
		return errors.Join(err, d.fault.Close())
	}
	err = errors.Join(d.run(ctx, s.before(cfg.Hook)), d.fault.Close())
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = nil // ended early, and undone
	}
	return d.conclude(err, stdout)
}

// run takes the steps, and opens the path again. After an error before the first step
// that is left to Close.
func (d *dropping) run(ctx context.Context, old []flow.Flow) error {
	_, proxied := d.fault.Proxied()
	if proxied {
		if err := d.through(ctx, old); err != nil {
			return err
		}
	}
	step, err := d.fault.Cut()
	if err != nil {
		return err
	}
	d.mark(timeline.DropStart, step.End, step.Mono+step.Took)
	if err = d.begun("step %s in %s, for %s; Ctrl-C undoes it at once", step.Name, d.where, d.opts.cutFor); err == nil {
		err = d.wait(ctx, d.opts.cutFor, nil)
	}
	held := err == nil && d.opts.hold > 0
	if held {
		err = d.hold(ctx, old)
	}
	passing, _ := d.fault.Proxied()
	err = errors.Join(err, d.fault.Undo())
	if steps := d.fault.Window("").Steps; !held {
		last := steps[len(steps)-1]
		d.mark(timeline.DropEnd, last.Start, last.Mono)
	}
	d.tell("undone")
	if proxied {
		d.tell("what passed through the proxy is reset (%s): shippers connect anew by themselves", plural(passing.Connections, "connection"))
	}
	return err
}

// hold takes the second step, about the connections that were there at first.
func (d *dropping) hold(ctx context.Context, old []flow.Flow) error {
	step, err := d.fault.Hold(old)
	if err != nil {
		return err
	}
	d.mark(timeline.DropEnd, step.Start, step.Mono)
	before := plural(max(len(old), len(step.Deleted)), "connection") + " of before do not"
	if max(len(old), len(step.Deleted)) == 0 && step.Name == fault.StepForget {
		before = "those of before do not, though conntrack knew none of them yet"
	}
	if s, ok := d.fault.Proxied(); ok {
		before = plural(s.Connections, "connection") + " through the proxy do not"
	}
	if err := d.begun("step %s, for %s: new connections pass, %s", step.Name, d.opts.hold, before); err != nil {
		return err
	}
	return d.wait(ctx, d.opts.hold, nil)
}

// begun tells of a step once the file does: after a crash that still says what was done.
func (d *dropping) begun(format string, args ...any) error {
	if err := d.write(); err != nil {
		return err
	}
	d.tell(format, args...)
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// wait reads the counters until it is over, or it is enough, and tells them now and
// then.
func (d *dropping) wait(ctx context.Context, lasts time.Duration, enough func() bool) error {
	over := time.After(lasts)
	count, tell := time.NewTicker(countEvery), time.NewTicker(tellEvery)
	defer count.Stop()
	defer tell.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			return nil
		case <-count.C:
			if _, err := d.fault.Counters(); err != nil {
				return err
			}
			if enough != nil && enough() {
				return nil
			}
		case <-tell.C:
			if now := d.counts(); now != told {
				told = now
				d.tell("%s", now)
			}
			if err := d.write(); err != nil {
				return err
			}
		}
	}
}

func (d *dropping) counts() string {
	w := d.fault.Window(d.opts.method)
	step := w.Steps[len(w.Steps)-1].Name
	toward, _ := w.Dropped(step, fault.Toward)
	from, _ := w.Dropped(step, fault.From)
	if w.Withheld != nil && (step == fault.StepProxy || d.opts.method == fault.Ack0.Name) {
		return d.proxied(step)
	}
	return fmt.Sprintf("%s: %d packets to the port, %d from it", step, toward, from)
}

func (d *dropping) tell(format string, args ...any) {
	fmt.Fprintf(d.out, "%s %s\n", time.Now().UTC().Format("15:04:05"), report.Plain(fmt.Sprintf(format, args...)))
}

// mark tells the recorders of this host that the fault begins or ends, as of a moment
// by both clocks. Where no packet of the connections is lost, that is no window in
// which the path was cut.
func (d *dropping) mark(what string, at time.Time, mono time.Duration) {
	drop := what
	if !d.method.Cuts() {
		drop = ""
	}
	d.remark(what, drop, at, mono)
}

// remark is a mark that need not tell of a drop.
func (d *dropping) remark(text, drop string, at time.Time, mono time.Duration) {
	evidence := d.opts.evidence
	if evidence == defaultEvidence {
		evidence = "" // any
	}
	sockets, err := collect.FindRecorders(evidence)
	if err != nil {
		d.tell("no recorder was told: %v", err)
		return
	}
	for _, socket := range sockets {
		_, err := collect.Send(socket, collect.Remark{
			Text: fmt.Sprintf("halfopen drop --method %s in %s: %s", d.opts.method, d.where, text), Drop: drop, Table: d.fault.Table(), Called: at, CalledMono: mono,
		})
		if err != nil {
			d.tell("a recorder was not told: %v", err)
		}
	}
}

// sweepFaults undoes what killed faults have left.
func sweepFaults(out io.Writer) error {
	swept, err := fault.OpenLedger().Sweep()
	for _, s := range swept {
		fmt.Fprintf(out, "swept what a killed halfopen left behind: %s\n", report.Plain(s))
	}
	return err
}

func undoDrops(out io.Writer) error {
	if err := sweepFaults(out); err != nil {
		return err
	}
	fmt.Fprintln(out, "nothing is left of drops that were killed; one that runs undoes itself when it is interrupted (kill -INT)")
	return nil
}
