package collect

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/netns"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// Place describes a namespace for the header. What can't be read is left out.
func Place(name, role string, ns *netns.NS) timeline.Place {
	p := timeline.Place{Name: name, Role: role}
	p.NetNS, _ = ns.Inode()
	if s, err := sockstate.ReadSysctls(ns); err == nil {
		p.Sysctls = &s
	}
	return p
}

// host fills in what the header says of this machine. What can't be read is
// left out.
func host(h *timeline.Header) {
	h.Host, _ = os.Hostname()
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	h.BootID = strings.TrimSpace(string(id))
	var t unix.Timex
	if state, err := unix.Adjtimex(&t); err == nil {
		h.Synchronised, h.ClockError = wallClock(state, t)
	}
}

// wallClock is what adjtimex(2) says of the wall clock. Where nothing keeps it
// right, the kernel's bound on its error means nothing.
func wallClock(state int, t unix.Timex) (synchronised *bool, most *time.Duration) {
	ok := state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
	if !ok {
		return &ok, nil
	}
	e := time.Duration(t.Maxerror) * time.Microsecond
	return &ok, &e
}
