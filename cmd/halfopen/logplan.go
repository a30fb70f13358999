package main

import (
	"cmp"
	"context"
	"errors"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"halfopen/collect"
	"halfopen/container"
	"halfopen/discover"
	"halfopen/logtail"
)

// kernelName is whose log the kernel's is.
const kernelName = "kernel"

// logPlan is how the logs of a recording are read.
type logPlan struct {
	from logtail.Start
	set  *collect.LogSet
	as   map[string]logtail.Format // how files are written, by path, where that is named
	lost error                     // why positions could not be read, nil if they were
	// ask reads what a container puts out where no file is known.
	ask func(context.Context, logtail.Config, logtail.Handler) error
}

// positionsFile is where --resume finds how far logs were read.
const positionsFile = "log-positions.json"

// plan opens the positions where --resume asks for them.
func (l *logFlags) plan(evidence string, m *logtail.Matcher) (p logPlan, err error) {
	p = logPlan{from: l.from(), set: &collect.LogSet{Matcher: m}, as: map[string]logtail.Format{}, ask: followContainer}
	for _, spec := range l.specs {
		p.as[spec.path] = spec.format
	}
	if !l.resume {
		return p, nil
	}
	p.set.Positions, err = logtail.OpenPositions(filepath.Join(evidence, cmp.Or(l.positions, positionsFile)))
	if errors.Is(err, logtail.ErrDamaged) {
		p.lost, err = err, nil
	}
	return p, err
}

// log makes a log of the recording.
func (p logPlan) log(name, path, copyName string) *collect.Logs {
	l := &collect.Logs{Name: name, Path: path, Copy: copyName, Format: p.as[path], From: p.from, Set: p.set}
	if strings.HasPrefix(path, collect.ContainerPrefix) {
		l.Follow = p.ask
	}
	return l
}

// begin adds the kernel's log, where it can be read; that it can't is recorded.
func (p logPlan) begin(rec *collect.Recorder) []collect.Source {
	if p.lost != nil {
		rec.Fail("positions of the logs", 0, p.lost)
	}
	if err := kernelReadable(); err != nil {
		rec.Fail("log of "+kernelName, 0, err)
		return nil
	}
	return []collect.Source{p.log(kernelName, collect.KernelPath, "kmsg")}
}

// logPaths are the logs of a life of the subject: those that --log names, else
// what its container puts out, if it is in one, and what it writes itself. A
// container made anew has its output elsewhere.
func (s *subject) logPaths(now container.Container) (paths []string) {
	if len(s.logs) > 0 {
		return s.logs
	}
	if c := s.program.Container; c != nil {
		paths = append(paths, outputOf(now))
	}
	for _, p := range s.program.Logs {
		if c := s.program.Container; c == nil || p != c.LogPath {
			paths = append(paths, s.inside(p, now.PID))
		}
	}
	return paths
}

// withLogs is the program with the logs that are read, its container's output
// among them.
func (s *subject) withLogs() discover.Program {
	p := s.program
	var now container.Container
	if p.Container != nil {
		now = *p.Container
	}
	p.Logs = slices.DeleteFunc(slices.Clone(s.logPaths(now)), func(path string) bool { return path == "" })
	return p
}

// outputOf is where a container's output can be read: the engine's file, or the
// engine itself. It is empty where neither can be.
func outputOf(c container.Container) string {
	switch {
	case readable(c.LogPath):
		return c.LogPath
	case c.Engine == container.Docker || c.Engine == container.Podman:
		return collect.ContainerPrefix + c.ID
	}
	return c.LogPath
}

// newLog makes the i-th log of the subject. The first is its container's output,
// or all there is.
func (s *subject) newLog(p logPlan, i int, path string) *collect.Logs {
	for len(s.copies) <= i {
		s.copies = append(s.copies, "")
	}
	if s.copies[i] == "" {
		s.copies[i] = "container"
		if i > 0 {
			s.copies[i] = copyName(path, s.copies)
		}
	}
	l := p.log(s.name, path, s.copies[i])
	if len(s.logs) == 0 && strings.HasPrefix(path, "/") {
		l.Follow = logtail.Follow // a program may call its log as it likes: that is no pattern
	}
	return l
}

var notInCopy = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// copyName names the copy of a log for the last part of its path.
func copyName(log string, taken []string) string {
	if kind, _, ok := strings.Cut(log, ":"); ok && kindOfLog.MatchString(log) {
		log = kind
	}
	base := strings.TrimSuffix(path.Base(log), ".log")
	base = strings.Trim(notInCopy.ReplaceAllString(base, "-"), "-.")
	if base == "" {
		base = "log"
	}
	base = base[:min(len(base), 100)]
	name := base
	for n := 2; slices.Contains(taken, name); n++ {
		name = base + "-" + strconv.Itoa(n)
	}
	return name
}
