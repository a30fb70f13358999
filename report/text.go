// Package report shows a verdict to people. It only reads.
package report

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"halfopen/verdict"
)

// Text is the verdict for a terminal at three in the morning: the answer first,
// then the reasons, each with the records it rests on. Of several shippers each
// has its part.
func Text(v verdict.Verdict) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%s\n\n", strings.ToUpper(v.Verdict), v.Summary)
	for _, s := range v.Shippers {
		fmt.Fprintf(&b, "--- %s: %s\n%s\n\n", s.Shipper, strings.ToUpper(s.Verdict), s.Summary)
		body(&b, s)
		b.WriteByte('\n')
	}
	if len(v.Shippers) == 0 {
		body(&b, v)
	}
	warnings(&b, v.Warnings)
	fmt.Fprintf(&b, "\nrecording %s\n", v.Recording)
	return []byte(Plain(b.String()))
}

// off is how far off a bound may be.
func off(d time.Duration, which string) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf(" (or up to %s %s)", d.Round(time.Millisecond), which)
}

// body is what a verdict says of one shipper, but for its warnings where these are
// the recording's too.
func body(b *bytes.Buffer, v verdict.Verdict) {
	if v.Connection != nil {
		fmt.Fprintf(b, "connection  %s\n", v.Connection)
	}
	if v.Receiver != nil && v.Connection != nil && *v.Receiver != v.Connection.Reverse() {
		fmt.Fprintf(b, "at receiver %s (behind NAT)\n", v.Receiver)
	}
	if v.Class != "" {
		fmt.Fprintf(b, "class       %s\n", v.Class)
	}
	if v.Confidence != "" {
		fmt.Fprintf(b, "confidence  %s\n", v.Confidence)
	}
	if w := v.Window; w != nil {
		end := "open"
		if w.End != nil {
			end = stamp(*w.End) + off(w.EndWithin, "later")
		}
		fmt.Fprintf(b, "cut         %s to %s\n", stamp(w.Start)+off(w.StartWithin, "earlier"), end)
	}
	if s := v.Stall; s != nil {
		fmt.Fprintf(b, "last read   %s\n", stamp(s.LastRead))
	}
	if v.Lag != nil {
		lag(b, *v.Lag)
	}
	if v.Series != nil {
		fmt.Fprintf(b, "from        %s\n", snapshots(*v.Series))
	}
	list(b, "gates", v.Gates)
	list(b, "criteria", v.Criteria)
	list(b, "findings", v.Findings)
	if len(v.Ends) > 0 {
		b.WriteString("\nwhat could still end it\n")
		for _, e := range v.Ends {
			fmt.Fprintf(b, "  %s\n", e.Text)
		}
	}
	if len(v.Settings) > 0 {
		b.WriteString("\nsettings\n")
		for _, s := range v.Settings {
			at := ""
			if s.Line > 0 && s.File != "" {
				at = fmt.Sprintf("%s:%d: ", filepath.Base(s.File), s.Line)
			}
			fmt.Fprintf(b, "  %-7s %s%s: %s; %s [record %d]\n", s.Level, at, s.Named(), s.What, s.Why, s.Record)
		}
	}
	if v.Shipper != "" {
		warnings(b, v.Warnings)
	}
}

// snapshots says how little a series of snapshots shows.
func snapshots(s verdict.Series) string {
	if s.Snapshots < 2 {
		return "one snapshot, with nothing before it to compare"
	}
	text := fmt.Sprintf("%d snapshots, one every %s; nothing between them was seen", s.Snapshots, Span(s.Every))
	if s.Stalled > 0 {
		text += fmt.Sprintf("; the last %d show the stall", s.Stalled)
	}
	return text
}

func warnings(b *bytes.Buffer, list []string) {
	if len(list) == 0 {
		return
	}
	b.WriteString("\nwarnings\n")
	for _, w := range list {
		fmt.Fprintf(b, "  %s\n", w)
	}
}

func list(b *bytes.Buffer, title string, findings []verdict.Finding) {
	if len(findings) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	for _, f := range findings {
		mark := "    "
		switch {
		case f.Holds == nil && title != "findings":
			mark = " ?  "
		case f.Holds != nil && *f.Holds:
			mark = "yes "
		case f.Holds != nil:
			mark = "NO  "
		}
		fmt.Fprintf(b, "  %s%s: %s%s\n", mark, f.Rule, f.Text, records(f.Records))
	}
}

func records(n []uint64) string {
	if len(n) == 0 {
		return ""
	}
	words := make([]string, len(n))
	for i, r := range n {
		words[i] = fmt.Sprint(r)
	}
	return " [record " + strings.Join(words, ", ") + "]"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
