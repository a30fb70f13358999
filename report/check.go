package report

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"halfopen/sockstate"
	"halfopen/verdict"
)

// Check is a checkup for a terminal: the answer first, then each shipper with its
// connections, the worst first.
func Check(c verdict.Checkup) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%s\n", strings.ToUpper(string(c.Health)), c.Summary)
	partial(&b, c)
	for _, s := range c.Shippers {
		b.WriteByte('\n')
		shipper(&b, s)
	}
	readings := "one reading"
	if c.Over > 0 {
		readings = "two readings " + Span(c.Over) + " apart"
	}
	fmt.Fprintf(&b, "\n%s, the last at %s\n", readings, stamp(c.Time))
	return []byte(Plain(b.String()))
}

func partial(b *bytes.Buffer, c verdict.Checkup) {
	for _, p := range c.Partial {
		fmt.Fprintf(b, "PARTIAL: %s\n", p)
	}
}

func shipper(b *bytes.Buffer, s verdict.ShipperCheck) {
	fmt.Fprintf(b, "%s: %s\n", s.Name, strings.ToUpper(string(s.Health)))
	if s.What != "" {
		fmt.Fprintf(b, "  %s\n", Line(s.What))
	}
	line := func(what, is string) {
		if is != "" {
			fmt.Fprintf(b, "  %-10s %s\n", what, is)
		}
	}
	if s.Counters != nil {
		line("counters", counters(*s.Counters))
	}
	if len(s.Connections) == 0 {
		line("why", s.Why)
		line("next", s.Next)
	}
	for _, n := range s.Notes {
		line("note", n)
	}
	well := 0
	alike := map[string]int{} // by health and class
	for _, c := range s.Connections {
		if c.Health == verdict.Healthy || c.Health == verdict.Idle {
			if well++; well > mostWell {
				continue
			}
		}
		kind := string(c.Health) + string(c.Class)
		alike[kind]++
		connection(b, c, alike[kind] <= mostAlike)
	}
	if well > mostWell {
		fmt.Fprintf(b, "  and %d more that are healthy or idle\n", s.Count[verdict.Healthy]+s.Count[verdict.Idle]-mostWell)
	}
}

// mostAlike is how many connections of one class are told in full.
const mostAlike = 4

// mostWell is how many connections without trouble are shown of a shipper.
const mostWell = 4

func counters(c verdict.CountersCheck) string {
	var words []string
	add := func(n *int64, format string) {
		if n != nil {
			words = append(words, fmt.Sprintf(format, *n))
		}
	}
	add(c.Acked, "%d events acked")
	add(c.AckedBy, "%+d between the readings")
	add(c.Pending, "%d wait")
	add(c.Capacity, "the queue holds %d")
	add(c.Active, "%d sent and not confirmed")
	return strings.Join(words, ", ")
}

func connection(b *bytes.Buffer, c verdict.ConnCheck, full bool) {
	head := string(c.Health)
	if c.Class != "" {
		head += ", " + string(c.Class)
	}
	if c.Stood != nil {
		head += ", no answer for at least " + Span(*c.Stood)
	}
	if c.Confidence != "" {
		head += ", confidence " + c.Confidence
	}
	fmt.Fprintf(b, "  %s %s: %s\n", c.Connection, c.State, head)
	if !full {
		return
	}
	line := func(what, is string) {
		if is != "" {
			fmt.Fprintf(b, "    %-10s %s\n", what, is)
		}
	}
	line("why", c.Why)
	line("kernel", kernel(c))
	line("waits", waits(c))
	for _, e := range c.Ends {
		line("ends", e.Text)
	}
	line("next", c.Next)
}

func kernel(c verdict.ConnCheck) string {
	s := "timer " + c.Timer.String()
	if c.Timer != sockstate.TimerOff {
		s += " in " + Span(c.TimerIn)
	}
	s += fmt.Sprintf(", %d unanswered", c.Retransmits)
	if c.Backoff != nil && c.RTO != nil {
		s += fmt.Sprintf(", backoff %d, RTO %s", *c.Backoff, Span(*c.RTO))
	}
	for _, a := range []struct {
		what string
		age  *time.Duration
	}{{"last ACK", c.LastAck}, {"last data sent", c.LastSent}, {"received", c.LastReceived}} {
		if a.age != nil {
			s += fmt.Sprintf(", %s %s ago", a.what, Span(*a.age))
		}
	}
	return s
}

func waits(c verdict.ConnCheck) string {
	if c.Unacked == 0 && c.Unread == 0 {
		return ""
	}
	s := fmt.Sprintf("%d bytes not acknowledged", c.Unacked)
	if c.Unsent != nil {
		s += fmt.Sprintf(", of these %d not sent yet", *c.Unsent)
	}
	if c.Unread > 0 {
		s += fmt.Sprintf("; %d bytes that the shipper has not read", c.Unread)
	}
	return s
}
