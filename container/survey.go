package container

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// survey is what can be seen of all containers without asking an engine.
type survey struct {
	known     map[string]*candidate // by id
	residents int                   // found by the cgroup of a process
	files     int                   // found by the files of an engine
	denied    []string              // what could not be read for want of rights
}

// candidate is a container with all the names it answers to.
type candidate struct {
	Container
	names []string
}

func (h Host) survey(ctx context.Context) (survey, error) {
	s := survey{known: map[string]*candidate{}}
	if err := h.residents(ctx, &s); err != nil {
		return s, err
	}
	s.residents = len(s.known)
	for _, r := range h.records(&s) {
		s.files++
		c := s.known[r.ID]
		if c == nil {
			c = &candidate{Container: Container{ID: r.ID, Engine: r.Engine}}
			h.settle(&c.Container, r.PID)
			s.known[r.ID] = c
		}
		c.names = append(c.names, r.names...)
		c.fill(r.Container)
	}
	return s, nil
}

// residents finds the containers that have processes. The first process of a
// container is the one that started first: what exec brings in comes later.
func (h Host) residents(ctx context.Context, s *survey) error {
	pfs, err := procfs.NewFS(h.proc())
	if err != nil {
		return err
	}
	procs, err := pfs.AllProcs()
	if err != nil {
		return err
	}
	for _, p := range procs {
		if err := ctx.Err(); err != nil {
			return err
		}
		id, engine, ok := h.OfPID(p.PID)
		if !ok {
			continue
		}
		c := s.known[id]
		if c != nil && !h.older(p.PID, c.Container) {
			continue
		}
		next := Container{ID: id, Engine: engine}
		if h.settle(&next, p.PID) {
			s.known[id] = &candidate{Container: next}
		}
	}
	return nil
}

func (h Host) older(pid int, than Container) bool {
	start, ok := h.startTime(pid)
	return ok && cmp.Or(cmp.Compare(start, than.StartTime), cmp.Compare(pid, than.PID)) < 0
}

// settle notes pid as the container's process, if it lives and is in it.
func (h Host) settle(c *Container, pid int) bool {
	start, ok := h.startTime(pid)
	if !ok {
		return false
	}
	text, err := h.cgroup(pid)
	if err != nil || !holds(text, c.ID) {
		return false
	}
	c.Running, c.PID, c.StartTime = true, pid, start
	c.NetNS = filepath.Join(h.proc(), strconv.Itoa(pid), "ns", "net")
	return true
}

// startTime is absent for a process that is gone, or that is dead and waits for
// its parent to notice.
func (h Host) startTime(pid int) (uint64, bool) {
	if pid <= 0 {
		return 0, false
	}
	pfs, err := procfs.NewFS(h.proc())
	if err != nil {
		return 0, false
	}
	p, err := pfs.Proc(pid)
	if err != nil {
		return 0, false
	}
	stat, err := p.Stat()
	if err != nil || stat.State == "Z" || stat.State == "X" {
		return 0, false
	}
	return stat.Starttime, true
}

type match int

const (
	none match = iota
	prefix
	exact // by name or full id
)

// pick chooses by full id, else by name, else by unique prefix of an id. Of
// several with the name (two engines, two pods) the only one that runs is meant.
func (s survey) pick(nameOrID string) (Container, match, error) {
	if c := s.known[nameOrID]; c != nil {
		return c.called(""), exact, nil
	}
	var named, begun []Container
	for _, id := range slices.Sorted(maps.Keys(s.known)) {
		c := s.known[id]
		if slices.Contains(c.names, nameOrID) {
			named = append(named, c.called(nameOrID))
		}
		if isHex(nameOrID) && fullID(id) && strings.HasPrefix(id, nameOrID) {
			begun = append(begun, c.called(""))
		}
	}
	if len(named) > 1 {
		if up := slices.DeleteFunc(slices.Clone(named), func(c Container) bool { return !c.Running }); len(up) == 1 {
			named = up
		}
	}
	switch {
	case len(named) == 1:
		return named[0], exact, nil
	case len(named) > 1:
		return Container{}, exact, ambiguous(nameOrID, named)
	case len(begun) == 1:
		return begun[0], prefix, nil
	case len(begun) > 1:
		return Container{}, prefix, ambiguous(nameOrID, begun)
	}
	return Container{}, none, nil
}

// called gives the container under the name it was asked for, else its first.
func (c candidate) called(name string) Container {
	out := c.Container
	if name == "" && len(c.names) > 0 {
		name = c.names[0]
	}
	out.Name = name
	return out
}

func ambiguous(nameOrID string, cs []Container) error {
	var list []string
	for _, c := range cs {
		short := c.ID[:min(12, len(c.ID))]
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", short, c.Engine, c.Name)))
	}
	return fmt.Errorf("find container %q: %d containers have it (%s): give more of the id", nameOrID, len(cs), strings.Join(list, "; "))
}
