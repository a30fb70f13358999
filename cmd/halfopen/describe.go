package main

import (
	"fmt"
	"strings"

	"halfopen/discover"
	"halfopen/report"
)

// describeProgram says what was found of a program, and how.
func describeProgram(p discover.Program) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s", p.Kind, p.Role)
	if p.PID != 0 {
		fmt.Fprintf(&b, ", process %d (%s)", p.PID, report.Line(p.Name))
	}
	if c := p.Container; c != nil {
		fmt.Fprintf(&b, ", container %s", c.Name)
		if !c.Running {
			b.WriteString(", which does not run: it is waited for")
		}
	}
	b.WriteByte('\n')
	line := func(what, is string) { fmt.Fprintf(&b, "  %-11s %s\n", what, report.Line(is)) }
	for _, s := range p.Connections {
		line("connection", fmt.Sprintf("%s %s", s.Flow, s.State))
	}
	if len(p.Connections) == 0 && p.PID != 0 && p.Role == discover.Shipper {
		line("connection", "none to its ports now; where it should have one: --port")
	}
	for _, s := range p.Listeners {
		if p.Ports.Has(s.Local.Port()) {
			line("listens", s.Local.String())
		}
	}
	if len(p.Stats) > 0 {
		line("counters", discover.Redact(p.Stats[:1])[0])
	}
	if p.Config != "" {
		line("settings", p.Config)
	}
	for _, l := range p.Logs {
		line("log", l)
	}
	for _, w := range p.Why {
		line("found by", w)
	}
	for _, m := range p.Missing {
		line("missing", m)
	}
	return report.Plain(b.String())
}
