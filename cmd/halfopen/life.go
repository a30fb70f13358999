package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	"halfopen/beatstats"
	"halfopen/collect"
	"halfopen/container"
	"halfopen/discover"
	"halfopen/netns"
)

// source watches the subject over its restarts.
func (s *subject) source(o recordOptions, all *collect.Namespaces, owners *collect.Owners, onset *collect.Onset, logs logPlan) collect.Source {
	var logged *collect.LoggedStats // another's log may quote a Beat's
	if s.program.Kind == discover.Filebeat || s.program.Kind == discover.Unknown {
		logged = &collect.LoggedStats{At: s.name, Name: s.name, Onset: onset}
	}
	return &collect.Following{
		Name: s.name, At: s.name, Watch: s.watch, Counters: logged,
		NewLog: func(i int, path string) *collect.Logs { return s.newLog(logs, i, path) },
		Open: func(p collect.Process) ([]collect.Source, func(), error) {
			return s.sources(p, o, all, owners, onset, logged)
		},
	}
}

// lifeEvery is how often a process is looked for that no engine tells of.
const lifeEvery = time.Second

// watch tells of the subject's process and of its restarts: by the container, if
// it is one; a bare process is gone for good when it ends.
func (s *subject) watch(ctx context.Context, each func(collect.Process)) error {
	switch {
	case s.container != "":
		return container.Follow(ctx, s.container, func(c container.Container) {
			each(collect.Process{PID: c.PID, Running: c.Running, Command: s.program.Cmdline, Logs: s.logPaths(c)})
		})
	case s.netns != "":
		each(collect.Process{Running: true, Logs: s.logPaths(container.Container{})})
		<-ctx.Done()
		return nil
	}
	each(collect.Process{PID: s.program.PID, Running: true, Command: s.program.Cmdline, Logs: s.logPaths(container.Container{})})
	tick := time.NewTicker(lifeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if !lives(s.program) {
				each(collect.Process{PID: s.program.PID, Command: s.program.Cmdline})
				<-ctx.Done()
				return nil
			}
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

// inside gives a path of the program's own files, below /proc/PID/root, for the
// process that has come in its place.
func (s *subject) inside(path string, pid int) string {
	if pid == 0 {
		return path
	}
	return strings.Replace(path, fmt.Sprintf("/proc/%d/root/", s.program.PID), fmt.Sprintf("/proc/%d/root/", pid), 1)
}

// sources opens what is read of one life of the subject.
func (s *subject) sources(p collect.Process, o recordOptions, all *collect.Namespaces, owners *collect.Owners, onset *collect.Onset, logged *collect.LoggedStats) ([]collect.Source, func(), error) {
	path := s.path()
	if p.PID != 0 {
		path = fmt.Sprintf("/proc/%d/ns/net", p.PID)
	}
	ns, err := netns.Open(path)
	if err != nil {
		return nil, nil, err
	}
	ports := o.ports.set()
	shared, err := all.Share(ns, s.name, func(where collect.Where) []collect.Source {
		return []collect.Source{
			&collect.Sockets{At: s.name, Where: where, NS: ns, Ports: ports, Every: socketsEvery, Via: o.sockets, Owners: owners, Onset: onset},
			&collect.Destroyed{At: s.name, Where: where, NS: ns, Ports: ports},
			&collect.Kernel{At: s.name, Where: where, NS: ns, Every: kernelEvery},
		}
	})
	if err != nil {
		ns.Close()
		return nil, nil, err
	}
	sources := []collect.Source{shared}
	done := func() { shared.Leave(); ns.Close() }
	if len(s.program.Stats) > 0 {
		endpoint := s.inside(s.program.Stats[0], p.PID)
		client, err := beatstats.NewClient(ns, endpoint, statsEvery)
		if err != nil {
			done()
			return nil, nil, err
		}
		done = func() { client.Close(); shared.Leave(); ns.Close() }
		sources = append(sources, &collect.Stats{At: s.name, Name: s.name, Client: client, Every: statsEvery, Paths: statsPaths(s.program.Kind), Log: logged, Onset: onset})
	}
	return sources, done, nil
}

// statsPaths are the pages that are kept raw.
func statsPaths(kind string) []string {
	switch kind {
	case discover.Filebeat:
		return []string{"/", "/stats"}
	case discover.Logstash:
		return []string{"/_node/stats"}
	case discover.Fluentd:
		return []string{"/api/plugins.json"}
	case discover.FluentBit:
		return []string{"/api/v1/metrics"}
	}
	return nil
}
