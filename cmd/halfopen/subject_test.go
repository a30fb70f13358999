package main

import (
	"os/exec"
	"slices"
	"testing"

	"halfopen/container"
	"halfopen/discover"
)

// started is a process with a command line and a folder, and how many were before it.
func started(t *testing.T, dir string, order uint64, args ...string) *subject {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return &subject{program: discover.Program{Kind: discover.Filebeat, PID: cmd.Process.Pid, StartTime: order, Cmdline: args}}
}

// A restart, which makes a program the youngest, leaves the order as it is, by which
// programs of one kind have their names.
func TestSubjectsKeepTheirOrder(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	in := func(s *subject, name string) *subject {
		s.program.Container = &container.Container{Name: name}
		return s
	}
	for name, begin := range map[string]func(first bool, order uint64) *subject{
		"command lines": func(first bool, order uint64) *subject {
			if first {
				return started(t, b, order, "filebeat", "-c", "a.yml")
			}
			return started(t, a, order, "filebeat", "-c", "b.yml")
		},
		"folders": func(first bool, order uint64) *subject {
			if first {
				return started(t, a, order, "filebeat")
			}
			return started(t, b, order, "filebeat")
		},
		"containers": func(first bool, order uint64) *subject {
			if first {
				return in(started(t, b, order, "z"), "one")
			}
			return in(started(t, a, order, "a"), "two")
		},
	} {
		first, second, again := begin(true, 1), begin(false, 2), begin(true, 3)
		for _, list := range [][]*subject{{first, second}, {second, first}, {second, again}, {again, second}} {
			slices.SortStableFunc(list, byIdentity)
			if list[1] != second {
				t.Errorf("%s: the second one, started as number %d, is before the first one, number %d", name, second.program.StartTime, list[1].program.StartTime)
			}
		}
	}
	old, young := started(t, a, 1, "filebeat"), started(t, a, 2, "filebeat")
	old.program.PID, young.program.PID = young.program.PID, old.program.PID // PIDs begin anew at the highest
	list := []*subject{young, old}
	if slices.SortStableFunc(list, byIdentity); list[0] != old {
		t.Error("where nothing else tells them apart the older one is not the first")
	}
}
