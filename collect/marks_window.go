package collect

import (
	"fmt"
	"strings"
	"time"

	"halfopen/timeline"
)

// markedWindows are the times during which packets were dropped, as drop marks
// tell them: halfopen made no rule, so what was dropped it does not know.
type markedWindows struct{ marks []marked }

type marked struct {
	timeline.Mark
	n    uint64
	at   time.Time
	mono time.Duration
}

// maxMarked bounds what is written anew with every mark.
const maxMarked = 1000

const windowLayout = "2006-01-02T15:04:05.000000000Z"

// add takes a mark and writes the windows as they then stand: after a crash the
// file still says what was told.
func (w *markedWindows) add(rec *Recorder, m timeline.Mark, n uint64) {
	if len(w.marks) == maxMarked {
		return // the timeline has them all
	}
	k := marked{Mark: m, n: n, at: time.Now().UTC()}
	if m.Called != nil {
		k.at, k.mono = *m.Called, m.CalledMono
	}
	w.marks = append(w.marks, k)
	rec.Save("drop-window.txt", "drop window", []byte(w.text()))
}

// text gives "key: value" lines, a block for each window.
func (w *markedWindows) text() string {
	var b strings.Builder
	b.WriteString("halfopen drop window by marks, format 1\n\n")
	b.WriteString("# Who ran the experiment said when packets were dropped, with \"halfopen mark\". Each time is when\n")
	b.WriteString("# that was called; how long before or after it the rule came or went is not known, nor what it dropped.\n")
	b.WriteString("# Times are UTC, mono is CLOCK_BOOTTIME, durations are by that clock.\n")
	windows := 0
	var start *marked
	for i, m := range w.marks {
		if m.Drop == timeline.DropStart || start == nil {
			windows++
			fmt.Fprintf(&b, "\nwindow: %d\n", windows)
		}
		m.write(&b)
		switch {
		case m.Drop == timeline.DropStart:
			start = &w.marks[i]
			if i+1 == len(w.marks) {
				b.WriteString("end: open, not marked yet\n")
			}
		case start != nil && start.mono != 0 && m.mono != 0:
			fmt.Fprintf(&b, "duration: %s\n", m.mono-start.mono)
		}
		if m.Drop == timeline.DropEnd {
			start = nil
		}
	}
	fmt.Fprintf(&b, "\ncomplete: %d windows\n", windows)
	return b.String()
}

func (m marked) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s: %s\n", m.Drop, m.at.Format(windowLayout))
	if m.mono != 0 {
		fmt.Fprintf(b, "%s-mono: %s\n", m.Drop, m.mono)
	}
	fmt.Fprintf(b, "%s-known: mark %q, record %d\n", m.Drop, m.Text, m.n)
}
