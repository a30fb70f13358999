package main

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/procfs"

	"halfopen/clock"
	"halfopen/collect"
	"halfopen/container"
	"halfopen/discover"
)

// lifeEvery is how often a process is looked for that no engine tells of.
const lifeEvery = time.Second

// goneEvery is the same for one that has ended, once it was not started anew within
// a minute: all processes are read for it.
const (
	goneEvery = 10 * time.Second
	soonAnew  = time.Minute
)

// watchBare tells of a process without a container: one of the same user, with the
// same command line and in the same network namespace, that began after it ended is
// what its supervisor has started in its place.
func (s *subject) watchBare(ctx context.Context, each func(collect.Process)) error {
	now, running, seen := s.program, true, clock.Mono()
	tell := func() {
		each(collect.Process{PID: now.PID, Running: running, Command: now.Cmdline, Logs: s.logPaths(container.Container{PID: now.PID})})
	}
	tell()
	user, _ := userOf(now.PID)
	looked := seen
	tick := time.NewTicker(lifeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		began := clock.Mono()
		switch {
		case running && lives(now):
			seen = began
			continue
		case !running && began-seen > soonAnew && began-looked < goneEvery:
			continue
		}
		looked = began
		next, again := successor(now, user, seen)
		switch {
		case again:
			now, running = next, true
			tell()
		case running:
			running = false
			tell()
		}
	}
}

// lives reports whether a process is still the one that was found: a zombie has
// ended, and its number may be another's by now.
func lives(p discover.Program) bool {
	proc, err := procfs.NewProc(p.PID)
	if err != nil {
		return false
	}
	st, err := proc.Stat()
	return err == nil && st.State != "Z" && st.State != "X" && (p.StartTime == 0 || st.Starttime == p.StartTime)
}

// userHz is the unit of a process's start time, ticks a second (USER_HZ,
// include/asm-generic/param.h: 100 on every architecture that Go runs on).
const userHz = 100

// successor is the first process that began to run the same command since a time by
// CLOCK_BOOTTIME, for the same user and in the same network namespace.
func successor(p discover.Program, user uint64, since time.Duration) (next discover.Program, ok bool) {
	earliest := uint64(since.Seconds() * userHz)
	all, err := procfs.AllProcs()
	if err != nil || len(p.Cmdline) == 0 {
		return next, false
	}
	for _, proc := range all {
		st, err := proc.Stat()
		if err != nil || proc.PID == p.PID || st.State == "Z" || st.State == "X" || st.Starttime < earliest || ok && st.Starttime >= next.StartTime {
			continue
		}
		args, err := proc.CmdLine()
		if err != nil || !slices.Equal(discover.Redact(args), p.Cmdline) {
			continue
		}
		if its, known := userOf(proc.PID); !known || its != user || !inNetNS(proc, p.NetNS) {
			continue
		}
		next, ok = p, true
		next.PID, next.StartTime = proc.PID, st.Starttime
	}
	return next, ok
}

// userOf is the effective user of a process.
func userOf(pid int) (uid uint64, ok bool) {
	proc, err := procfs.NewProc(pid)
	if err != nil {
		return 0, false
	}
	st, err := proc.NewStatus()
	return st.UIDs[1], err == nil
}

// inNetNS reports whether a process is in a network namespace; where that one is not
// known (0), it says yes.
func inNetNS(proc procfs.Proc, inode uint64) bool {
	if inode == 0 {
		return true
	}
	spaces, err := proc.Namespaces()
	return err == nil && uint64(spaces["net"].Inode) == inode
}
