package main

import (
	"context"
	"fmt"
	"strings"

	"halfopen/beatstats"
	"halfopen/collect"
	"halfopen/container"
	"halfopen/discover"
	"halfopen/netns"
	"halfopen/timeline"
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

// watch tells of the subject's process and of its restarts: by the container, if
// it is one.
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
	return s.watchBare(ctx, each)
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
	if s.outside {
		return s.outsideSources(o, owners), func() {}, nil
	}
	in := s.path()
	if p.PID != 0 {
		in = fmt.Sprintf("/proc/%d/ns/net", p.PID)
	}
	ns, err := netns.Open(in)
	if err != nil {
		return nil, nil, err
	}
	ports := o.ports.set()
	path, closePath, err := o.openPathOf(ns)
	if err != nil {
		ns.Close()
		return nil, nil, err
	}
	path.forward = s.program.Role == timeline.Router
	shared, err := all.Share(ns, s.name, func(where collect.Where) []collect.Source {
		return append(append(path.sources(s.name, where), o.capture.at(s.name, where, ns, ports)...),
			&collect.Sockets{At: s.name, Where: where, NS: ns, Ports: ports, Every: socketsEvery, Via: o.sockets, Owners: owners, Onset: onset},
			&collect.Destroyed{At: s.name, Where: where, NS: ns, Ports: ports},
			&collect.Kernel{At: s.name, Where: where, NS: ns, Every: kernelEvery},
		)
	})
	if err != nil {
		closePath()
		ns.Close()
		return nil, nil, err
	}
	sources := []collect.Source{shared}
	done := func() { shared.Leave(); closePath(); ns.Close() }
	if len(s.program.Stats) > 0 {
		endpoint := s.inside(s.program.Stats[0], p.PID)
		client, err := beatstats.NewClient(ns, endpoint, statsEvery)
		if err != nil {
			done()
			return nil, nil, err
		}
		done = func() { client.Close(); shared.Leave(); closePath(); ns.Close() }
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
