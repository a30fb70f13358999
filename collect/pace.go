package collect

import (
	"context"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// every calls fn now and then once a period until ctx ends. Calls never overlap;
// periods that a slow call missed are left out.
func every(ctx context.Context, period time.Duration, fn func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for ctx.Err() == nil {
		fn()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// often is every for short periods, by a timer of the kernel's (timerfd_create(2)).
// For one of its own Go wakes two idle threads besides the one that is to run,
// which a hundred times a second takes 0.5 % of a core.
func often(ctx context.Context, period time.Duration, fn func()) {
	timer, err := openTimer(period)
	if err == nil {
		defer timer.Close()
		err = beat(ctx, timer, fn)
	}
	if err != nil { // no descriptor was left
		every(ctx, period, fn)
	}
}

func beat(ctx context.Context, timer *os.File, fn func()) error {
	raw, err := timer.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { timer.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var expired [8]byte
	due := func(fd uintptr) bool {
		// It does not block: Go's scheduler need not know of it.
		_, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&expired)), uintptr(len(expired)))
		return errno == 0
	}
	for ctx.Err() == nil {
		fn()
		if err := raw.Read(due); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func openTimer(period time.Duration) (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	ts := unix.NsecToTimespec(period.Nanoseconds())
	if err := unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: ts, Value: ts}, nil); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("timerfd_settime", err)
	}
	return os.NewFile(uintptr(fd), "timerfd"), nil
}
