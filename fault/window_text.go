package fault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// header is the first line of the text, with the version of the format.
const header = "halfopen drop window, format 1"

// timeLayout is RFC 3339 in UTC with nanoseconds, all nine digits.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// explanation stands between the summary and the steps.
func explanation(w Window) []string {
	between := "the path was surely cut"
	if first := w.first(); len(w.Steps) > first {
		switch w.Steps[first].Name {
		case StepExpire:
			between = "connections over which nothing flowed were forgotten; new ones passed"
		case StepWindow:
			between = "packets from the port passed on with a window of zero; dropped counts those"
		case StepAck0:
			between = "the proxy passed nothing on, and told its clients to wait"
		case StepDrop:
			if first > 0 {
				between = "the way behind the proxy was surely cut"
			}
		}
	}
	return []string{
		"From start to end " + between + "; each uncertainty lies outside of that.",
		"A step was made at one moment between the two times of its known line.",
		"A packet came between two readings of its counter, the two times of a first or last line.",
		"Times are UTC, mono is CLOCK_BOOTTIME, durations are by that clock.",
	}
}

// WriteTo writes the text of MarshalText. It implements [io.WriterTo].
func (w Window) WriteTo(to io.Writer) (int64, error) {
	text, err := w.MarshalText()
	if err != nil {
		return 0, err
	}
	n, err := to.Write(text)
	return int64(n), err
}

// MarshalText gives the window as "key: value" lines, a summary and then a block
// for each step. ParseWindow reads it again. A value that does not fit into a
// line is an error.
func (w Window) MarshalText() ([]byte, error) {
	p := &printer{}
	p.summary(w)
	p.WriteByte('\n')
	for _, line := range explanation(w) {
		p.WriteString("# " + line + "\n")
	}
	counted := 0
	for i, s := range w.Steps {
		p.WriteByte('\n')
		counted += p.step(w, i, s)
	}
	p.WriteByte('\n')
	p.line("complete", fmt.Sprintf("%d steps", len(w.Steps))) // a file that was cut short lacks it
	if counted != len(w.Counters) {
		p.fail("%d of %d counters belong to a rule of a step", counted, len(w.Counters))
	}
	if p.err != nil {
		return nil, fmt.Errorf("write drop window: %w", p.err)
	}
	return p.Bytes(), nil
}

// printer writes lines and keeps the first error.
type printer struct {
	bytes.Buffer
	err error
}

func (p *printer) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// line writes a value that can be read back, or nothing if it is empty.
func (p *printer) line(key, value string) {
	if value == "" {
		return
	}
	if strings.TrimSpace(value) != value || strings.ContainsFunc(value, unicode.IsControl) || !utf8.ValidString(value) {
		p.fail("%s %q does not fit into a line", key, value)
	}
	fmt.Fprintf(p, "%s: %s\n", key, value)
}

func (p *printer) time(t time.Time) string {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		p.fail("year %d has not four digits (RFC 3339)", y)
	}
	return t.Format(timeLayout)
}

func (p *printer) seen(s Seen) string {
	return fmt.Sprintf("between %s and %s", p.time(s.After), p.time(s.By))
}

func (p *printer) summary(w Window) {
	p.WriteString(header + "\n")
	p.line("method", w.Method)
	if w.Netns != 0 {
		p.line("netns", fmt.Sprint(w.Netns))
	}
	p.line("table", w.Table)
	p.line("ports", strings.Trim(fmt.Sprint([]uint16(w.Ports)), "[]"))
	for _, s := range w.Setup {
		p.line("setup", s)
	}
	if start, ok := w.Start(); ok {
		first := w.first()
		p.line("start", p.time(start))
		p.line("start-uncertainty", w.Steps[first].Took.String())
		if end, ok := w.End(); ok {
			held, _ := w.Held(first)
			p.line("end", p.time(end))
			p.line("end-uncertainty", w.Steps[first+1].Took.String())
			p.line("duration", held.String())
		} else {
			p.line("end", "open, the path is still cut")
		}
		for _, d := range []Direction{Toward, From} {
			packets, bytes := w.Dropped(w.Steps[first].Name, d)
			p.line("dropped-"+string(d), fmt.Sprintf("%d packets, %d bytes", packets, bytes))
		}
		if first, last, ok := w.Met(w.Steps[first].Name); ok {
			p.line("first-dropped", p.seen(first))
			p.line("last-dropped", p.seen(last))
		}
		forgotten := 0
		for _, s := range w.Steps {
			forgotten += len(s.Deleted)
		}
		p.line("forgotten-entries", fmt.Sprint(forgotten))
	} else {
		p.line("start", "none, the path was never cut")
	}
	if h := w.Withheld; h != nil {
		p.line("withheld", fmt.Sprintf("%d bytes toward, %d bytes from, %d ACKs of sequence 0 told instead", h.Toward, h.From, h.Acks))
	}
	if !w.Read.IsZero() {
		p.line("counters-read", p.time(w.Read))
	}
	p.line("counters-error", w.Error)
}

// step returns how many counters it wrote.
func (p *printer) step(w Window, i int, s Step) (counted int) {
	if s.Name == "" || s.Known == "" {
		p.fail("step %d has the name %q and is known by %q: want both", i+1, s.Name, s.Known)
	}
	p.line("step", s.Name)
	p.line("known", fmt.Sprintf("%s between %s and %s", s.Known, p.time(s.Start), p.time(s.End)))
	p.line("mono", s.Mono.String())
	p.line("took", s.Took.String())
	if held, ok := w.Held(i); ok {
		p.line("held", held.String())
	} else if len(s.Rules) > 0 {
		p.line("held", "open, the rules are still in force")
	}
	p.line("changed", s.Changed)
	for _, e := range s.Deleted {
		text, err := json.Marshal(e)
		if err != nil {
			p.fail("entry %s: %w", e.Orig, err)
		}
		p.line("deleted", strings.TrimSuffix(fmt.Sprintf("%s, answered %s, %s", e.Orig, e.Reply, e.State), ", "))
		p.line("deleted-entry", string(text))
	}
	for n, rule := range s.Rules {
		if rule == "" || slices.Contains(s.Rules[:n], rule) {
			p.fail("step %q has the rule %q twice, or empty", s.Name, rule)
		}
		p.line("rule", rule)
		for _, c := range w.Counters {
			if c.Step == s.Name && c.Rule == rule {
				p.line("dropped", fmt.Sprintf("%s %d packets, %d bytes", c.Direction, c.Packets, c.Bytes))
				if c.First != (Seen{}) {
					p.line("first", p.seen(c.First))
					p.line("last", p.seen(c.Last))
				}
				counted++
			}
		}
	}
	return counted
}
