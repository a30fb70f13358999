// Package clock reads the clock that orders everything halfopen records.
package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Mono is CLOCK_BOOTTIME: the time since boot, with the time the host was
// suspended. It never runs backward, whatever happens to the wall clock, and is
// the same in every process of the host.
func Mono() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // can't fail for this clock since Linux 2.6.39
	return time.Duration(ts.Nano())
}
