package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"halfopen/clock"
	"halfopen/collect"
	"halfopen/flow"
	"halfopen/report"
	"halfopen/sockstate"
	"halfopen/timeline"
	"halfopen/verdict"
)

// display shows a run while it goes on: one line that is rewritten on a
// terminal, a line every few seconds elsewhere. It learns from the records alone.
type display struct {
	out   io.Writer
	tty   bool
	quiet bool

	mu      sync.Mutex
	shipper string // place whose state is shown
	ports   flow.Ports
	name    string // of the phase
	until   time.Time
	acked   *int64
	pending *int64
	meter   verdict.Meter
	socket  *sockstate.Socket
	outages verdict.Outages
	canary  string
	notable []string // lines to print above the live one
}

const (
	liveEvery  = 250 * time.Millisecond
	plainEvery = 5 * time.Second
)

func newDisplay(out io.Writer, quiet bool) *display {
	d := &display{out: out, quiet: quiet, name: collect.Before, outages: verdict.Outages{Thresholds: verdict.Defaults()}}
	if f, ok := out.(*os.File); ok {
		d.tty = term.IsTerminal(int(f.Fd()))
	}
	return d
}

// phase says what the run does from now on, for how long, and what that is.
func (d *display) phase(name string, lasts time.Duration, what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.name, d.until = name, time.Now().Add(lasts)
	d.notable = append(d.notable, what)
}

// watch says that the run is a recording without phases; it lasts until it is
// stopped if lasts is 0.
func (d *display) watch(lasts time.Duration) {
	d.name = "record"
	if lasts > 0 {
		d.until = time.Now().Add(lasts)
	}
}

// beside says that a command prints to the same terminal: no line is rewritten.
func (d *display) beside() { d.tty = false }

// print shows a text at once.
func (d *display) print(text string) {
	if !d.quiet {
		fmt.Fprintln(d.out, report.Plain(text))
	}
}

// observe takes what a record says; it is called under the recorder's lock.
func (d *display) observe(r timeline.Record) {
	if d.quiet {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case r.Header != nil:
		d.shipper, d.ports = r.Header.Shipper(), r.Header.Ports
	case r.Stats != nil && r.Stats.At == d.shipper:
		d.meter.Add(r.Mono, r.N, r.Stats.Sample)
		if v := r.Stats.Sample.Acked; v != nil {
			d.acked = &v.N
		}
		if v := r.Stats.Sample.Pending; v != nil {
			d.pending = &v.N
		}
	case r.Sockets != nil && r.Sockets.Of(d.shipper):
		d.socket = nil
		var own []sockstate.Socket
		for _, s := range r.Sockets.Sockets {
			if s.State == sockstate.Listen || !d.ports.Has(s.Remote.Port()) {
				continue
			}
			own = append(own, s)
			if d.socket == nil || s.State == sockstate.Established {
				d.socket = &s
			}
		}
		for _, o := range d.outages.Add(own) {
			d.notable = append(d.notable, fmt.Sprintf("%s: %s", o.Flow, o.Text))
		}
	case r.Canary != nil:
		d.canary = "path open"
		if !r.Canary.Passed {
			d.canary = "path closed"
		}
	case r.Event != nil && !r.Event.Past && r.Event.Name != "logstash": // whose log tells of every canary
		d.notable = append(d.notable, r.Event.Name+"'s log: "+r.Event.Means)
	case r.Party != nil && r.Party.Change == timeline.Restarted:
		d.notable = append(d.notable, fmt.Sprintf("%s was restarted: %s", r.Party.Name, r.Party.How))
	case r.Party != nil && r.Party.Change == timeline.Exited:
		d.notable = append(d.notable, strings.TrimSuffix(fmt.Sprintf("%s exited: %s", r.Party.Name, r.Party.How), ": "))
	case r.Mark != nil && r.Mark.Called != nil:
		d.notable = append(d.notable, "mark: "+r.Mark.Text)
	case r.Failure != nil && (r.Failure.Source == timeline.Recorder || strings.HasPrefix(r.Failure.Source, "evidence ")):
		d.notable = append(d.notable, r.Failure.Source+": "+r.Failure.Error)
	case r.Gap != nil:
		d.notable = append(d.notable, fmt.Sprintf("a gap in %s: %s", r.Gap.Source, r.Gap.Why))
	}
}

// Run shows the state until ctx ends.
func (d *display) Run(ctx context.Context, _ *collect.Recorder) error {
	if d.quiet {
		return nil
	}
	live, plain := time.NewTicker(liveEvery), time.NewTicker(plainEvery)
	defer live.Stop()
	defer plain.Stop()
	for {
		select {
		case <-ctx.Done():
			d.draw(false)
			if d.tty {
				fmt.Fprintln(d.out)
			}
			return nil
		case <-live.C:
			d.draw(d.tty)
		case <-plain.C:
			d.draw(true)
		}
	}
}

func (d *display) draw(state bool) {
	d.mu.Lock()
	notable, line := d.notable, d.line()
	d.notable = nil
	d.mu.Unlock()
	const clear = "\r\x1b[K"
	for _, n := range notable {
		if d.tty {
			fmt.Fprint(d.out, clear)
		}
		fmt.Fprintf(d.out, "%s %s\n", time.Now().UTC().Format("15:04:05"), report.Plain(n))
	}
	switch {
	case !state:
	case d.tty:
		width, _, err := term.GetSize(int(d.out.(*os.File).Fd()))
		if err == nil && len(line) >= width && width > 1 {
			line = line[:width-1]
		}
		fmt.Fprint(d.out, clear, line)
	default:
		fmt.Fprintf(d.out, "%s %s\n", time.Now().UTC().Format("15:04:05"), line)
	}
}

func (d *display) line() string {
	part := []string{fmt.Sprintf("%-6s", d.name)}
	if !d.until.IsZero() {
		part = append(part, fmt.Sprintf("%3.0fs left", max(0, time.Until(d.until)).Seconds()))
	}
	part = append(part, "acked "+orDash(d.acked)+d.lastAck(), "pending "+orDash(d.pending)+d.oldest())
	if s := d.socket; s != nil {
		sock := s.State.String()
		if s.Timer != sockstate.TimerOff {
			sock += fmt.Sprintf(", timer %s in %.1fs", s.Timer, s.TimerIn.Seconds())
		}
		if s.Retransmits > 0 {
			sock += fmt.Sprintf(", %d retransmissions", s.Retransmits)
		}
		part = append(part, sock)
	} else {
		part = append(part, "not connected")
	}
	if d.canary != "" {
		part = append(part, d.canary)
	}
	return strings.Join(part, " | ")
}

// lastAck is how fast acks came of late, and how long ago the last one did.
func (d *display) lastAck() string {
	l, ok := d.meter.Lag(clock.Mono())
	switch {
	case !ok || l.SinceAck == nil || l.SinceAck.AtLeast:
		return ""
	case len(l.Rates) == 0:
		return fmt.Sprintf(" (%s ago)", report.Span(l.SinceAck.For))
	}
	return fmt.Sprintf(" (%.1f/s, %s ago)", l.Rates[0].PerSecond, report.Span(l.SinceAck.For))
}

// oldest is how long the first of the waiting events has waited.
func (d *display) oldest() string {
	if l, ok := d.meter.Lag(clock.Mono()); ok && l.Oldest != nil {
		return fmt.Sprintf(" (oldest %s)", report.Span(l.Oldest.For))
	}
	return ""
}

func orDash(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}
