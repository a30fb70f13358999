package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"halfopen/collect"
	"halfopen/container"
	"halfopen/discover"
	"halfopen/flow"
	"halfopen/netns"
	"halfopen/timeline"
)

// subject is a program, or only a namespace, that record watches.
type subject struct {
	name      string // of the place, unique in the recording
	program   discover.Program
	netns     string         // path, where only a namespace was named
	container string         // name, where a restart is to be followed by it
	logs      []string       // those that --log names for it
	copies    []string       // the names of the logs' copies, once they are followed
	place     timeline.Place // as far as it could be looked into at the start
	outside   bool           // it may not be entered, and its tables are read through its process
}

// findSubjects is what the options name; without any, what is found on the host
// and may be watched. Skipped says what was found and may not.
func findSubjects(ctx context.Context, o recordOptions) (in []*subject, skipped []string, err error) {
	list, named, err := chooseSubjects(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	return enterable(list, named)
}

// chooseSubjects is findSubjects before any of their places was looked into.
func chooseSubjects(ctx context.Context, o recordOptions) (list []*subject, named bool, err error) {
	containers, err := findNamed(ctx, o)
	if err != nil {
		return nil, false, err
	}
	wanted := slices.Clone(o.pids)
	for _, c := range containers {
		wanted = append(wanted, c.PID)
	}
	programs, findErr := discover.Find(ctx, discover.Options{Ports: o.ports.asked(), PIDs: wanted})
	for _, pid := range o.pids {
		list = append(list, &subject{program: programOf(programs, pid)})
	}
	for i, c := range containers {
		list = append(list, &subject{program: programIn(programs, o.containers[i], c), container: o.containers[i]})
	}
	for _, path := range o.netns {
		list = append(list, namespaceAt(path, programs))
	}
	someShips(list)
	named = len(list) > 0
	if !named {
		list = found(programs)
	}
	if o.once && !named { // a place has its name by its number, and is to have the same in each snapshot
		slices.SortStableFunc(list, byIdentity)
	}
	if len(list) == 0 {
		return nil, false, nothingFound(findErr, o)
	}
	for i, s := range list {
		s.complete(o, i, list[:i])
	}
	return list, named, nil
}

// byIdentity orders subjects by what a restart leaves as it is, and where that is the
// same by their age.
func byIdentity(a, b *subject) int {
	name := func(s *subject) string {
		if c := s.program.Container; c != nil {
			return c.Name
		}
		return ""
	}
	folder := func(s *subject) string {
		dir, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", s.program.PID)) // empty where it may not be read
		return dir
	}
	return cmp.Or(
		cmp.Compare(name(a), name(b)),
		slices.Compare(a.program.Cmdline, b.program.Cmdline),
		cmp.Compare(folder(a), folder(b)),
		cmp.Compare(a.program.StartTime, b.program.StartTime),
		cmp.Compare(a.program.PID, b.program.PID),
	)
}

// findNamed gives the containers that are named. It refuses what can't be
// watched, and what is named twice: it would be two places.
func findNamed(ctx context.Context, o recordOptions) ([]container.Container, error) {
	by := map[int]string{} // processes, and how they were named
	for _, pid := range o.pids {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err != nil {
			return nil, fmt.Errorf("watch --pid %d: there is no such process", pid)
		}
		if by[pid] != "" {
			return nil, usage("--pid %d is given twice: once will do", pid)
		}
		by[pid] = fmt.Sprintf("--pid %d", pid)
	}
	var out []container.Container
	for _, name := range o.containers {
		c, err := container.Find(ctx, name)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(out, func(b container.Container) bool { return b.ID == c.ID }); i >= 0 {
			return nil, usage("--container %s and --container %s are the same container: give it once", o.containers[i], name)
		}
		if c.Running && by[c.PID] != "" {
			return nil, usage("--container %s is process %d, which %s names too: give it once", name, c.PID, by[c.PID])
		}
		out = append(out, c)
	}
	for i, path := range o.netns {
		if slices.Contains(o.netns[:i], path) {
			return nil, usage("--netns %q is given twice: once will do", path)
		}
	}
	return out, nil
}

// ownNetNS is the caller's network namespace, which takes no rights.
const ownNetNS = "/proc/self/ns/net"

// found are the programs that can be followed, and the sockets of the caller's
// own namespace, whoever holds them.
func found(programs []discover.Program) (list []*subject) {
	own, _ := os.Readlink(ownNetNS)
	for _, p := range programs {
		switch {
		case p.Container != nil:
			list = append(list, &subject{program: p, container: p.Container.ID})
		case p.PID != 0:
			list = append(list, &subject{program: p})
		case own == fmt.Sprintf("net:[%d]", p.NetNS):
			list = append(list, &subject{program: p, netns: ownNetNS})
		}
	}
	return list
}

// nothingFoundError is that of a search that found nothing.
type nothingFoundError struct{ error }

func (e nothingFoundError) Unwrap() error { return e.error }

func nothingFound(err error, o recordOptions) error {
	if err != nil && !errors.Is(err, discover.ErrHidden) {
		return err
	}
	if err != nil {
		return nothingFoundError{fmt.Errorf("%w; name what to watch with --pid, --container or --netns", err)}
	}
	ports := o.ports.asked()
	if ports == nil {
		ports = discover.DefaultPorts
	}
	return nothingFoundError{fmt.Errorf("no program that ships logs (Filebeat, Logstash, Fluentd, Fluent Bit, Vector) was found on this host, and nothing with a connection to port %v: name what to watch with --pid, --container or --netns, or another --port", ports)}
}

// enterable looks into the place of each subject. Named means required; of what
// was found by itself the rest is watched.
func enterable(list []*subject, named bool) (in []*subject, skipped []string, err error) {
	for _, s := range list {
		s.place, err = s.look()
		if err == nil {
			in = append(in, s)
			continue
		}
		err = fmt.Errorf("%s: %w", s.what(), notEntered(err))
		if named {
			return nil, nil, fmt.Errorf("watch %w", err)
		}
		skipped = append(skipped, err.Error())
	}
	if len(in) == 0 {
		return nil, nil, errors.New(strings.Join(skipped, "\n"))
	}
	return in, skipped, nil
}

// what names the subject for people.
func (s *subject) what() string {
	switch {
	case s.netns != "":
		return "--netns " + s.netns
	case s.container != "":
		return "container " + cmp.Or(s.program.Container.Name, s.container)
	}
	return fmt.Sprintf("process %d (%s)", s.program.PID, cmp.Or(s.program.Name, s.program.Kind))
}

// look describes the place for the header. A container that does not run is
// waited for.
func (s *subject) look() (timeline.Place, error) {
	if s.container != "" && !s.program.Container.Running {
		return timeline.Place{Name: s.name, Role: s.program.Role}, nil
	}
	ns, err := netns.Open(s.path())
	if err != nil {
		return timeline.Place{}, err
	}
	defer ns.Close()
	return collect.Place(s.name, s.program.Role, ns), nil
}

// programOf is what is known of a process that was named.
func programOf(programs []discover.Program, pid int) discover.Program {
	for _, p := range programs {
		if p.PID == pid {
			return p
		}
	}
	return discover.Program{Kind: discover.Unknown, Role: discover.Shipper, PID: pid, Why: []string{fmt.Sprintf("named by --pid %d", pid)}}
}

// programIn is what is known of the program of a container: one that was
// recognised there, best first, else its first process, else that the container
// was named.
func programIn(programs []discover.Program, name string, c container.Container) discover.Program {
	in := slices.DeleteFunc(slices.Clone(programs), func(p discover.Program) bool { return p.Container == nil || p.Container.ID != c.ID })
	if len(in) == 0 {
		in = []discover.Program{{Kind: discover.Unknown, Role: discover.Shipper, PID: c.PID, Name: cmp.Or(c.Name, name), Why: []string{"named by --container " + name}}}
	}
	p := in[0]
	if i := slices.IndexFunc(in, func(p discover.Program) bool { return p.Kind != discover.Unknown }); i >= 0 {
		p = in[i]
	}
	p.Container = &c // the more recent look
	return p
}

// complete takes --stats for the i-th place, and gives it a name that no place
// before has.
func (s *subject) complete(o recordOptions, i int, before []*subject) {
	if i < len(o.stats) {
		s.program.Stats = []string{o.stats[i]}
		s.program.Missing = slices.DeleteFunc(s.program.Missing, func(m string) bool { return strings.HasPrefix(m, "its counters") })
	}
	s.program = withJournal(s.program)
	kind := s.program.Kind
	if kind == discover.Unknown {
		name := s.program.Name
		if c := s.program.Container; c != nil && c.Name != "" {
			name = c.Name
		}
		kind = cmp.Or(strings.Trim(notInName.ReplaceAllString(name, "-"), "-"), kind)
	}
	s.name = kind
	for n := 2; slices.ContainsFunc(before, func(b *subject) bool { return b.name == s.name }); n++ {
		s.name = kind + "-" + strconv.Itoa(n)
	}
}

// notInName is what a place's name, a part of file names, does without.
var notInName = regexp.MustCompile(`[^A-Za-z0-9_]+`)

func (s *subject) path() string {
	if s.netns != "" {
		return s.netns
	}
	if c := s.program.Container; c != nil && c.NetNS != "" {
		return c.NetNS
	}
	return fmt.Sprintf("/proc/%d/ns/net", s.program.PID)
}

// portsOf are the ports that were asked for, else those that the programs ship to
// or receive on.
func portsOf(o recordOptions, list []*subject) flow.Ports {
	ports := o.ports.asked()
	if ports != nil {
		return ports
	}
	for _, s := range list {
		ports = append(ports, s.program.Ports...)
	}
	if len(ports) == 0 {
		return o.ports.set()
	}
	return flow.NewPorts(ports...)
}
