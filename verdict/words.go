package verdict

import (
	"fmt"
	"time"
)

// round spells a duration for people: tenths of a second.
func round(d time.Duration) string {
	if d.Abs() < 100*time.Millisecond {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// clock spells a monotonic time as a time of day, with the date where it is not
// the day on which the recording began.
func (r *run) clock(mono time.Duration) string {
	t := r.wall(mono).UTC()
	if t.Format(time.DateOnly) != r.first.Time.UTC().Format(time.DateOnly) {
		return t.Format("2006-01-02 15:04:05 UTC")
	}
	return t.Format("15:04:05 UTC")
}

func count[N int | int64 | uint64 | uint32](n N, thing string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", thing)
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// how adds how a program exited, where that is known.
func how(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}
