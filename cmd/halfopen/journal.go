package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"halfopen/collect"
	"halfopen/discover"
)

// withJournal adds the journal of a program's unit to its logs, where its output
// goes there.
func withJournal(p discover.Program) discover.Program {
	if p.PID == 0 || p.Container != nil || !outputIsJournal(p.PID) {
		return p
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID))
	unit := unitOf(text)
	if err != nil || unit == "" {
		return p
	}
	if _, err := exec.LookPath("journalctl"); err != nil {
		p.Missing = append(p.Missing, "its output, which goes to systemd's journal as that of "+unit+": there is no journalctl here")
		return p
	}
	p.Logs = append(p.Logs, collect.JournalPrefix+unit)
	p.Why = append(p.Why, "its output goes to systemd's journal as that of "+unit)
	return p
}

// outputIsJournal reports whether a process's standard output or error is the
// stream that systemd gave it, which the variable JOURNAL_STREAM names by device
// and inode (systemd.exec(5)).
func outputIsJournal(pid int) bool {
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		stream, ok := bytes.CutPrefix(v, []byte("JOURNAL_STREAM="))
		if !ok {
			continue
		}
		for _, fd := range []string{"1", "2"} {
			st, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%s", pid, fd))
			if err != nil {
				continue
			}
			if sys, ok := st.Sys().(*syscall.Stat_t); ok && string(stream) == fmt.Sprintf("%d:%d", sys.Dev, sys.Ino) {
				return true
			}
		}
	}
	return false
}

// unitOf finds the service in the text of /proc/PID/cgroup as journald does: the
// first of the path that is no slice. Below it may be a user's own units, whose
// lines carry the unit of that user's manager.
func unitOf(cgroup []byte) string {
	for line := range bytes.Lines(cgroup) {
		part := strings.SplitN(strings.TrimSuffix(string(line), "\n"), ":", 3)
		if len(part) < 3 || part[1] != "" && part[1] != "name=systemd" {
			continue // version 1 has a hierarchy for each controller
		}
		for name := range strings.SplitSeq(strings.Trim(part[2], "/"), "/") {
			if strings.HasSuffix(name, ".slice") {
				continue
			}
			if strings.HasSuffix(name, ".service") && unitName.MatchString(name) {
				return name
			}
			break
		}
	}
	return ""
}
