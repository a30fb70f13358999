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

	"halfopen/collect"
	"halfopen/report"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// display shows a run while it goes on: one line that is rewritten on a
// terminal, a line every few seconds elsewhere. It learns from the records alone.
type display struct {
	out   io.Writer
	tty   bool
	quiet bool

	mu      sync.Mutex
	shipper string // place whose state is shown
	name    string // of the phase
	until   time.Time
	acked   *int64
	pending *int64
	socket  *sockstate.Socket
	canary  string
	notable []string // lines to print above the live one
}

const (
	liveEvery  = 250 * time.Millisecond
	plainEvery = 5 * time.Second
)

func newDisplay(out io.Writer, quiet bool) *display {
	d := &display{out: out, quiet: quiet, name: collect.Before}
	if f, ok := out.(*os.File); ok {
		d.tty = term.IsTerminal(int(f.Fd()))
	}
	return d
}

// phase says what the run does from now on, and for how long.
func (d *display) phase(name string, lasts time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.name, d.until = name, time.Now().Add(lasts)
	d.notable = append(d.notable, map[string]string{
		collect.Before: fmt.Sprintf("the path is open; deliveries are watched for %s", lasts),
		collect.During: fmt.Sprintf("the path is cut for %s: every packet on the port is dropped, both ways", lasts),
		collect.After:  fmt.Sprintf("the path carries new connections again, the old flow is forgotten; watching for %s", lasts),
	}[name])
}

// watch says that the run is a recording without phases; it lasts until it is
// stopped if lasts is 0.
func (d *display) watch(lasts time.Duration) {
	d.name = "record"
	if lasts > 0 {
		d.until = time.Now().Add(lasts)
	}
}

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
		d.shipper = r.Header.Shipper()
	case r.Stats != nil && r.Stats.At == d.shipper:
		if v := r.Stats.Sample.Acked; v != nil {
			d.acked = &v.N
		}
		if v := r.Stats.Sample.Pending; v != nil {
			d.pending = &v.N
		}
	case r.Sockets != nil && r.Sockets.At == d.shipper:
		d.socket = nil
		for _, s := range r.Sockets.Sockets {
			if s.State != sockstate.Listen && (d.socket == nil || s.State == sockstate.Established) {
				d.socket = &s
			}
		}
	case r.Canary != nil:
		d.canary = "path open"
		if !r.Canary.Passed {
			d.canary = "path closed"
		}
	case r.Event != nil && r.Event.Name != "logstash": // whose log tells of every canary
		d.notable = append(d.notable, r.Event.Name+"'s log: "+r.Event.Means)
	case r.Party != nil && r.Party.Change == timeline.Exited:
		d.notable = append(d.notable, strings.TrimSuffix(fmt.Sprintf("%s exited: %s", r.Party.Name, r.Party.How), ": "))
	case r.Gap != nil:
		d.notable = append(d.notable, fmt.Sprintf("lost %d of %s: %s", r.Gap.Lost, r.Gap.Source, r.Gap.Why))
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
	part = append(part, "acked "+orDash(d.acked), "pending "+orDash(d.pending))
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

func orDash(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}
