package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"halfopen/flow"
	"halfopen/netns"
	"halfopen/report"
	"halfopen/sockstate"
	"halfopen/verdict"
)

// snapshot is one or two looks at a place.
type snapshot struct {
	Place   string             `json:"place"`
	First   *verdict.Look      `json:"first,omitempty"`
	Last    *verdict.Look      `json:"last"`
	Sysctls *sockstate.Sysctls `json:"sysctls,omitempty"`
	// Others are the other places, Recording the prefix of what was kept, and Stalled
	// the stall that it proves together with the snapshot before.
	Others    []snapshot `json:"others,omitempty"`
	Recording string     `json:"recording,omitempty"`
	Stalled   string     `json:"stalled,omitempty"`
}

func (s snapshot) print(out io.Writer, asJSON bool) error {
	var text []byte
	if asJSON {
		var err error
		if text, err = report.JSON(s); err != nil {
			return err
		}
	} else {
		text = s.text()
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("print snapshot: %w", err)
	}
	return nil
}

func (s snapshot) text() []byte {
	head := report.Plain(s.Place)
	if s.First != nil {
		head += fmt.Sprintf(", two looks %s apart", s.Last.Time.Sub(s.First.Time).Round(100*time.Millisecond))
	}
	text := append([]byte(head+"\n\n"), report.Look(s.First, s.Last, s.Sysctls)...)
	for _, o := range s.Others {
		text = append(append(text, '\n'), o.text()...)
	}
	if s.Stalled != "" {
		text = append(text, "\n"+s.Stalled+"\n"...)
	}
	return text
}

// table shows the places that are named, else the own one and those of what was
// found elsewhere.
func (o *snapshotOptions) table(ctx context.Context, t taken, stdout, stderr io.Writer) error {
	views, err := o.views(ctx, t.subjects, stderr)
	for _, v := range views {
		defer v.close()
	}
	if err != nil {
		return err
	}
	list, err := looks(ctx, views, o.ports.set(), o.over, stderr)
	if err != nil {
		return err
	}
	s := list[0]
	s.Others, s.Recording, s.Stalled = list[1:], t.prefix, t.stalled
	return s.print(stdout, o.json)
}

func (o *snapshotOptions) views(ctx context.Context, subjects []*subject, stderr io.Writer) (views []*view, err error) {
	var where []placeFlags
	for _, pid := range o.pids {
		where = append(where, placeFlags{pid: pid})
	}
	for _, c := range o.containers {
		where = append(where, placeFlags{container: c})
	}
	for _, path := range o.netns {
		where = append(where, placeFlags{netns: path})
	}
	named := len(where) > 0
	if !named {
		where = append(where, placeFlags{})
		for _, s := range subjects {
			switch c := s.program.Container; {
			case c != nil && c.Running:
				where = append(where, placeFlags{container: c.ID})
			case s.program.PID != 0:
				where = append(where, placeFlags{pid: s.program.PID})
			}
		}
	}
	seen := map[uint64]bool{}
	for _, w := range where {
		v, err := w.open(ctx, stderr)
		if err != nil && !named && len(views) > 0 {
			continue // gone meanwhile
		}
		if err != nil {
			return views, err
		}
		if inode, err := inodeOf(v.ns); err == nil && seen[inode] {
			v.close()
			continue
		} else if err == nil {
			seen[inode] = true
		}
		views = append(views, v)
	}
	return views, nil
}

func inodeOf(ns *netns.NS) (uint64, error) {
	if ns == nil {
		return 0, netns.ErrClosed
	}
	return ns.Inode()
}

// unasked is how long nobody asks what a program is waiting for.
const unasked = 3 * time.Second

// looks looks at each place, and after a while again, unless over is 0.
func looks(ctx context.Context, views []*view, ports flow.Ports, over time.Duration, stderr io.Writer) ([]snapshot, error) {
	list := make([]snapshot, len(views))
	for i, v := range views {
		first, err := v.look(ports)
		if err != nil {
			return nil, err
		}
		list[i] = snapshot{Place: v.name, Last: &first}
		if v.entered() {
			if sys, err := sockstate.ReadSysctls(v.ns); err == nil {
				list[i].Sysctls = &sys
			}
		}
	}
	if over == 0 {
		return list, nil
	}
	if over > unasked {
		fmt.Fprintf(stderr, "halfopen: looked once; the second look is in %s, or at Ctrl-C\n", over)
	}
	_ = wait(ctx, over) // ended early, it shows what changed until then
	for i, v := range views {
		last, err := v.look(ports)
		if err != nil {
			return nil, err
		}
		list[i].First, list[i].Last = list[i].Last, &last
	}
	return list, nil
}

func (v *view) look(ports flow.Ports) (verdict.Look, error) {
	socks, via, err := v.sockets(ports)
	if err != nil {
		return verdict.Look{}, err
	}
	l := verdict.Look{Time: time.Now().UTC(), Via: via, Ports: sockstate.Count(socks, ports)}
	if c, err := sockstate.ReadCounters(v.root); err == nil {
		l.Counters = &c
	}
	return l, nil
}

// tell says what was kept, and what was not; err is why nothing was, unless that is
// to be told anyway.
func (t taken) tell(stderr io.Writer, err error) {
	for _, f := range t.failures {
		fmt.Fprintln(stderr, report.Plain("halfopen: not read: "+strings.ReplaceAll(f, "\n", "; ")))
	}
	switch {
	case t.unkept && err != nil:
		fmt.Fprintf(stderr, "halfopen: nothing is kept: %v\n", err)
	case t.prefix != "":
		fmt.Fprintf(stderr, "evidence: %s-*\n", t.prefix)
	}
}
