package main

import (
	"context"
	"fmt"
	"time"

	"halfopen/fault"
	"halfopen/flow"
)

// passWithin is how long a first connection through the proxy is waited for.
const passWithin = 5 * time.Minute

// baseline is how long it then goes on as it should, so that a recorder can see so.
const baseline = 3 * time.Second

// checkProxy says which options have no meaning for a method with a proxy.
func (o *dropOptions) checkProxy(m fault.Method) error {
	for _, option := range []struct {
		name  string
		given bool
	}{{"--hook", o.hook != ""}, {"--direction", o.ways != ""}, {"--interface", o.iface != ""}, {"--loss", o.loss != 0}, {"--flow", o.flow.given}} {
		if option.given {
			return usage("method %s leads all new connections to a port through a proxy, as a whole: %s has no meaning for it", m.Name, option.name)
		}
	}
	if o.everything() {
		return usage("method %s leads new connections to a port through a proxy: name it with --port", m.Name)
	}
	return nil
}

// through leads new connections through the proxy, and waits until one of them has
// carried data both ways: only then is there something to break.
func (d *dropping) through(ctx context.Context, old []flow.Flow) error {
	step, err := d.fault.Redirect()
	if err != nil {
		return err
	}
	d.remark(fmt.Sprintf("step %s: new connections pass through a proxy from here on", step.Name), "", step.End, step.Mono+step.Took)
	if err := d.begun("step %s in %s: new connections to the port pass through a proxy of this process, %s of before do not: restart the shipper, or wait until it connects anew, for %s at most; Ctrl-C undoes it", step.Name, d.where, plural(len(old), "connection"), passWithin); err != nil {
		return err
	}
	carried := func() bool {
		s, _ := d.fault.Proxied()
		return s.Carried > 0
	}
	if err := d.wait(ctx, passWithin, carried); err != nil {
		return err
	}
	s, _ := d.fault.Proxied()
	if s.Carried == 0 {
		d.tell("no connection has carried data both ways through the proxy within %s, and nothing was broken: is the port right, do connections begin or pass here (--container, --pid), does a firewall here keep them from the proxy's own port?", passWithin)
		return codeError(exitInconclusive)
	}
	d.tell("%s through the proxy, %d with data both ways; the fault begins in %s", plural(s.Connections, "connection"), s.Carried, baseline)
	if s.Mute > 0 && d.opts.method == fault.Ack0.Name {
		d.tell("%d of them begin with TLS, or with something else than Lumberjack v2: no ACK can be told in those, they will be silent", s.Mute)
	}
	return d.wait(ctx, baseline, nil)
}

// proxied tells what the proxy holds at a step.
func (d *dropping) proxied(step string) string {
	s, _ := d.fault.Proxied()
	text := fmt.Sprintf("%s: %s through the proxy", step, plural(s.Connections, "connection"))
	if d.opts.method == fault.Ack0.Name && step != fault.StepProxy {
		text += fmt.Sprintf(", %d bytes to the port and %d from it withheld, ACK 0 told %s", s.Toward, s.From, plural(int(s.Acks), "time"))
	}
	return text
}
