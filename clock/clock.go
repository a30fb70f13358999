// Package clock reads the clock that orders everything halfopen records.
package clock

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mono is CLOCK_BOOTTIME: the time since boot, with the time the host was
// suspended. It never runs backward, whatever happens to the wall clock, and is
// the same in every process of the host.
func Mono() time.Duration {
	var ts unix.Timespec
	// It can't fail for this clock since Linux 2.6.39. The call never blocks, so
	// Go's scheduler, which would wake its monitor thread, need not know of it.
	_, _, _ = unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}

// Spent is the CPU time of the calling thread (CLOCK_THREAD_CPUTIME_ID), which goes on
// with others if the goroutine is not locked to it. Unlike the wall clock it leaves out
// the time of others on a busy host.
func Spent() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // it can't fail for this clock
	return time.Duration(ts.Nano())
}
