package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"halfopen/verdict"
)

// matrixNote is what a reader of the table must know.
func (o labOptions) matrixNote() string {
	return fmt.Sprintf("tcp_retries2 is %d, so the kernel gives up after %s; with 15, the default, it is 15m25s or more. "+
		"Each path was cut for %s and watched for %s; in method e it forgets what carries nothing for %s. "+
		"No line was lost or arrived twice, but where it is said.", o.retries2, giveUp(o.retries2), o.dropFor, o.watchFor, o.idle)
}

// giveUp is the least time until a kernel with an RTO of 200 ms, TCP_RTO_MIN,
// gives up: it doubles up to TCP_RTO_MAX, 120 s (net/ipv4/tcp_timer.c,
// tcp_model_timeout).
func giveUp(retries2 int) (d time.Duration) {
	rto := 200 * time.Millisecond
	for range retries2 + 1 {
		d += rto
		rto = min(2*rto, 120*time.Second)
	}
	return d.Round(time.Second)
}

// matrixTable is the cells in Markdown: a line for each method, a column for each
// setting.
func (o labOptions) matrixTable(cells []*cell) string {
	var b, notes strings.Builder
	head, rule := "| method |", "|---|"
	var columns []string
	for _, c := range cells {
		if name := c.setting(); !slices.Contains(columns, name) {
			columns = append(columns, name)
			head += " " + name + " |"
			rule += "---|"
		}
	}
	b.WriteString(head + "\n" + rule + "\n")
	told := map[string]int{}
	for i, c := range cells {
		if i%len(columns) == 0 {
			fmt.Fprintf(&b, "| %s |", c.Method)
		}
		fmt.Fprintf(&b, " %s", c.outcome())
		if c.Verdict == verdict.Inconclusive {
			if told[c.Summary] == 0 {
				told[c.Summary] = len(told) + 1
				fmt.Fprintf(&notes, "%d. %s\n", told[c.Summary], c.Summary)
			}
			fmt.Fprintf(&b, " [%d]", told[c.Summary])
		}
		b.WriteString(" |")
		if i%len(columns) == len(columns)-1 {
			b.WriteString("\n")
		}
	}
	fmt.Fprintf(&b, "\n%s\n", o.matrixNote())
	if notes.Len() > 0 {
		b.WriteString("\n" + notes.String())
	}
	b.WriteString("\n")
	for _, m := range labMethods {
		if slices.ContainsFunc(cells, func(c *cell) bool { return c.Method == m.name }) {
			fmt.Fprintf(&b, "- %s: %s\n", m.name, m.what)
		}
	}
	return b.String()
}

// outcome is a cell in a few words.
func (c *cell) outcome() string {
	after := ""
	if c.After != nil {
		after = c.After.Round(time.Second).String()
	}
	var says string
	switch c.Verdict {
	case verdict.Recovered:
		says = fmt.Sprintf("%s, acks again after %s", c.By, after)
	case verdict.Reproduced, verdict.Stalled:
		says = fmt.Sprintf("**stalled** for %s, %s", after, c.Class)
	default:
		says = c.Verdict
		d := c.Delivery
		switch {
		case strings.HasPrefix(c.Summary, "never delivered"):
			says = "delivers nothing"
		case d != nil && d.Once > 20*d.Waiting: // all but what was under way at the end
			says = "delivers on"
		}
	}
	if d := c.Delivery; d != nil && (d.Doubled > 0 || d.Lost > 0) {
		says += fmt.Sprintf("; %d twice, %d lost", d.Doubled, d.Lost)
	}
	return says
}
