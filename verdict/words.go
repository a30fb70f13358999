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

// clock spells a time of day.
func clock(t time.Time) string { return t.UTC().Format("15:04:05") }

func count[N int | int64 | uint64 | uint32](n N, thing string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", thing)
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
