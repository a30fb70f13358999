package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"

	"halfopen/beatstats"
	"halfopen/collect"
	"halfopen/container"
	"halfopen/discover"
	"halfopen/netns"
	"halfopen/timeline"
)

// subject is a program, or only a namespace, that record watches.
type subject struct {
	name      string // of the place, unique in the recording
	program   discover.Program
	netns     string // path, where only a namespace was named
	container string // name, where a restart is to be followed by it
}

// findSubjects is what the options name; without any, what is found on the host.
func findSubjects(ctx context.Context, o recordOptions) ([]*subject, error) {
	programs, findErr := discover.Find(ctx, discover.Options{Ports: o.ports.set()})
	var list []*subject
	for _, pid := range o.pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			return nil, fmt.Errorf("watch --pid %d: %w", pid, err)
		}
		list = append(list, &subject{program: programOf(programs, pid)})
	}
	for _, name := range o.containers {
		c, err := container.Find(ctx, name)
		if err != nil {
			return nil, err
		}
		list = append(list, &subject{program: programIn(programs, name, c), container: name})
	}
	for _, path := range o.netns {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("watch --netns %q: %w", path, err)
		}
		list = append(list, &subject{netns: path, program: discover.Program{Kind: discover.Unknown, Role: discover.Shipper, Why: []string{"named by --netns " + path}}})
	}
	if len(list) == 0 {
		for _, p := range programs {
			if p.PID != 0 {
				s := &subject{program: p}
				if p.Container != nil {
					s.container = p.Container.ID
				}
				list = append(list, s)
			}
		}
	}
	if len(list) == 0 {
		if findErr != nil {
			return nil, findErr
		}
		return nil, fmt.Errorf("no program that ships logs was found on this host, and nothing with a connection to port %v: name what to watch with --pid, --container or --netns, or another --port", o.ports.String())
	}
	for i, s := range list {
		s.complete(o, i, list[:i])
	}
	return list, nil
}

// programOf is what is known of a process; of one that was not recognised, that
// it was named.
func programOf(programs []discover.Program, pid int) discover.Program {
	for _, p := range programs {
		if p.PID == pid {
			return p
		}
	}
	return discover.Program{Kind: discover.Unknown, Role: discover.Shipper, PID: pid, Why: []string{fmt.Sprintf("named by --pid %d", pid)}}
}

// programIn is what is known of the program of a container: the one that was
// recognised there, best first, else that the container was named.
func programIn(programs []discover.Program, name string, c container.Container) discover.Program {
	p := discover.Program{
		Kind: discover.Unknown, Role: discover.Shipper, PID: c.PID, Name: cmp.Or(c.Name, name), Container: &c,
		Why: []string{"named by --container " + name},
	}
	for _, q := range programs {
		if q.Container != nil && q.Container.ID == c.ID {
			p = q
			p.Container = &c // the more recent look
			break
		}
	}
	return p
}

// complete takes --stats and --log for the i-th place, and gives it a name that
// no place before has.
func (s *subject) complete(o recordOptions, i int, before []*subject) {
	if i < len(o.stats) {
		s.program.Stats = []string{o.stats[i]}
	}
	if i < len(o.logs) {
		s.program.Logs = []string{o.logs[i]}
	}
	kind := s.program.Kind
	if kind == discover.Unknown && s.program.Name != "" {
		kind = strings.Trim(notInName.ReplaceAllString(s.program.Name, "-"), "-")
	}
	s.name = kind
	for n := 2; taken(before, s.name); n++ {
		s.name = kind + "-" + strconv.Itoa(n)
	}
}

// notInName is what a place's name, a part of file names, does without.
var notInName = regexp.MustCompile(`[^A-Za-z0-9_]+`)

func taken(list []*subject, name string) bool {
	for _, s := range list {
		if s.name == name {
			return true
		}
	}
	return false
}

func (s *subject) path() string {
	if s.netns != "" {
		return s.netns
	}
	if c := s.program.Container; c != nil && c.NetNS != "" {
		return c.NetNS
	}
	return fmt.Sprintf("/proc/%d/ns/net", s.program.PID)
}

// place describes the subject for the header, as far as it can be entered now.
func (s *subject) place() timeline.Place {
	ns, err := netns.Open(s.path())
	if err != nil {
		return timeline.Place{Name: s.name, Role: s.program.Role}
	}
	defer ns.Close()
	return collect.Place(s.name, s.program.Role, ns)
}

// source watches the subject over its restarts.
func (s *subject) source(o recordOptions, owners *collect.Owners) collect.Source {
	return &collect.Following{
		Name: s.name, At: s.name, Watch: s.watch,
		Open: func(p collect.Process) ([]collect.Source, func(), error) { return s.sources(p, o, owners) },
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
			each(collect.Process{PID: c.PID, Running: c.Running, Command: s.program.Cmdline, Log: s.log(c)})
		})
	case s.netns != "":
		each(collect.Process{Running: true, Log: s.log(container.Container{})})
		<-ctx.Done()
		return nil
	}
	each(collect.Process{PID: s.program.PID, Running: true, Command: s.program.Cmdline, Log: s.log(container.Container{})})
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

// log is the path of the program's log, or where none was found, of the output
// of its present container: made anew, that has another.
func (s *subject) log(now container.Container) string {
	if len(s.program.Logs) == 0 {
		return now.LogPath
	}
	path := s.program.Logs[0]
	if c := s.program.Container; c != nil && path == c.LogPath && now.LogPath != "" {
		return now.LogPath
	}
	return s.inside(path, now.PID)
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
func (s *subject) sources(p collect.Process, o recordOptions, owners *collect.Owners) ([]collect.Source, func(), error) {
	path := s.path()
	if p.PID != 0 {
		path = fmt.Sprintf("/proc/%d/ns/net", p.PID)
	}
	ns, err := netns.Open(path)
	if err != nil {
		return nil, nil, err
	}
	ports := o.ports.set()
	sources := []collect.Source{
		&collect.Sockets{At: s.name, NS: ns, Ports: ports, Every: socketsEvery, Via: o.sockets, Owners: owners},
		&collect.Destroyed{At: s.name, NS: ns, Ports: ports},
		&collect.Kernel{At: s.name, NS: ns, Every: kernelEvery},
	}
	done := func() { ns.Close() }
	if len(s.program.Stats) > 0 {
		endpoint := s.inside(s.program.Stats[0], p.PID)
		client, err := beatstats.NewClient(ns, endpoint, statsEvery)
		if err != nil {
			ns.Close()
			return nil, nil, err
		}
		done = func() { client.Close(); ns.Close() }
		sources = append(sources, &collect.Stats{At: s.name, Name: s.name, Endpoint: endpoint, Client: client, Every: statsEvery, Paths: statsPaths(s.program.Kind)})
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
