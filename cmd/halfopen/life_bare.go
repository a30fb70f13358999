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

// watchBare tells of a process without a container: one with the same command line
// that began after it ended is what its supervisor has started in its place.
func (s *subject) watchBare(ctx context.Context, each func(collect.Process)) error {
	now, running, seen := s.program, true, clock.Mono()
	tell := func() {
		each(collect.Process{PID: now.PID, Running: running, Command: now.Cmdline, Logs: s.logPaths(container.Container{PID: now.PID})})
	}
	tell()
	tick := time.NewTicker(lifeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if began := clock.Mono(); running && lives(now) {
			seen = began
			continue
		}
		next, again := successor(now, seen)
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
// CLOCK_BOOTTIME.
func successor(p discover.Program, since time.Duration) (next discover.Program, ok bool) {
	earliest := uint64(since.Seconds() * userHz)
	all, err := procfs.AllProcs()
	if err != nil || len(p.Cmdline) == 0 {
		return next, false
	}
	for _, proc := range all {
		args, err := proc.CmdLine()
		if err != nil || proc.PID == p.PID || !slices.Equal(discover.Redact(args), p.Cmdline) {
			continue
		}
		st, err := proc.Stat()
		if err != nil || st.State == "Z" || st.State == "X" || st.Starttime < earliest {
			continue
		}
		if !ok || st.Starttime < next.StartTime {
			next, ok = p, true
			next.PID, next.StartTime = proc.PID, st.Starttime
		}
	}
	return next, ok
}
