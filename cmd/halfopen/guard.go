package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
	"github.com/spf13/cobra"
)

// guard ends the process group of record's command, whatever happens to record: a
// process of its own that waits for the other end of a pipe to close.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

const guardCommand = "experiment-guard"

func startGuard(group int, socket string) (*guard, error) {
	g := &guard{cmd: exec.Command("/proc/self/exe", guardCommand, strconv.Itoa(group), socket)}
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // out of reach of Ctrl-C
	g.cmd.Stderr = os.Stderr
	var err error
	if g.pipe, err = g.cmd.StdinPipe(); err == nil {
		err = g.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start guard: %w", err)
	}
	return g, nil
}

// end ends what is left of the group.
func (g *guard) end() {
	if g == nil {
		return
	}
	g.pipe.Close()
	_ = g.cmd.Wait()
}

func newGuard() *cobra.Command {
	return &cobra.Command{
		Use: guardCommand + " GROUP SOCKET", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			group, err := strconv.Atoi(args[0])
			if err != nil || group <= 1 {
				return usage("group %q: want a process group", args[0])
			}
			_, _ = io.Copy(io.Discard, cmd.InOrStdin())
			endGroup(group, args[1])
			return nil
		},
	}
}

// endGrace is how long a process may take to put things right when it is told to
// end.
const endGrace = 2 * time.Second

// endGroup ends the processes of a group that the recorder with this socket
// started: its number may be another's by now.
func endGroup(group int, socket string) {
	for limit, s := time.Now().Add(endGrace), syscall.SIGTERM; anyOf(group, socket); time.Sleep(20 * time.Millisecond) {
		if s != 0 {
			_ = syscall.Kill(-group, s)
			_ = syscall.Kill(-group, syscall.SIGCONT) // a stopped one can't end
		}
		switch s = 0; {
		case time.Now().After(limit.Add(endGrace)): // one that waits for a dead disk does not die
			return
		case time.Now().After(limit):
			s = syscall.SIGKILL
		}
	}
}

func anyOf(group int, socket string) bool {
	procs, err := procfs.AllProcs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(procs, func(p procfs.Proc) bool {
		st, err := p.Stat()
		if err != nil || st.PGRP != group || st.State == "Z" {
			return false
		}
		env, err := p.Environ()
		return err == nil && slices.Contains(env, envSocket+"="+socket)
	})
}
