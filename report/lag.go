package report

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"halfopen/verdict"
)

// lag is how far behind the shipper is, a line a figure.
func lag(b *bytes.Buffer, l verdict.Lag) {
	if a := l.SinceAck; a != nil {
		fmt.Fprintf(b, "last ack    %s before the last reading of the counters%s%s\n", age(*a), rates(l.Rates), records(l.Records))
	}
	switch {
	case l.Oldest != nil && l.Waiting != nil:
		fmt.Fprintf(b, "oldest      of %s waits for %s, by the queue's counters\n", events(*l.Waiting), age(*l.Oldest))
	case l.Oldest != nil:
		fmt.Fprintf(b, "oldest      event waits for %s, by the queue's counters\n", age(*l.Oldest))
	case l.Waiting != nil && *l.Waiting > 0:
		fmt.Fprintf(b, "waiting     %s\n", events(*l.Waiting))
	}
	if f := l.Full; f != nil && l.Waiting != nil {
		fmt.Fprintf(b, "queue       %d of %d events, full %s later at %.1f/s\n", *l.Waiting, f.Capacity, Span(f.In), f.PerSecond)
	}
}

func events(n int64) string {
	if n == 1 {
		return "1 event"
	}
	return fmt.Sprintf("%d events", n)
}

func rates(list []verdict.Rate) string {
	words := make([]string, len(list))
	for i, r := range list {
		words[i] = fmt.Sprintf("%.1f/s over %s", r.PerSecond, strings.TrimSuffix(r.Over.String(), "0s"))
		if r.Over < time.Minute {
			words[i] = fmt.Sprintf("%.1f/s over %s", r.PerSecond, r.Over)
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "; acked " + strings.Join(words, ", ")
}

func age(a verdict.Age) string {
	if a.AtLeast {
		return "more than " + Span(a.For)
	}
	return Span(a.For)
}

// Span spells a duration for people: tenths of a second below a minute, seconds
// above.
func Span(d time.Duration) string {
	if d.Abs() < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
