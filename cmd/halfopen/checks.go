package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/fault"
	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/netns"
	"halfopen/sockstate"
)

// check is a right or a feature of the kernel.
type check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"` // of a failure, or what limits it
	Adds string `json:"adds"`          // what it is good for
}

const capPrefix = "CAP_"

// missing are the rights that this process does not have, as setcap spells them.
func missing(checks []check) (out []string) {
	for _, c := range checks {
		if strings.HasPrefix(c.Name, capPrefix) && !c.OK {
			out = append(out, strings.ToLower(c.Name))
		}
	}
	return out
}

// rights looks at the capabilities of this process (capabilities(7)).
func rights() (checks []check) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&hdr, &data[0])
	within := inUserNamespace()
	for _, c := range []struct {
		name string
		bit  int
		adds string
	}{
		{"SYS_ADMIN", unix.CAP_SYS_ADMIN, "other network namespaces (containers); the lab, where user namespaces are not allowed"},
		{"SYS_PTRACE", unix.CAP_SYS_PTRACE, "the processes behind other users' sockets, their namespaces, settings and logs"},
		{"DAC_READ_SEARCH", unix.CAP_DAC_READ_SEARCH, "the files of other users: settings, logs, descriptors, what container engines keep"},
		{"NET_ADMIN", unix.CAP_NET_ADMIN, "conntrack entries of a router; packet filter rules that come and go, and so when a hand-made one dropped packets; faults"},
		{"NET_RAW", unix.CAP_NET_RAW, "the headers of packets: record --capture; among packet filter rules those of iptables-legacy"},
		{"SYSLOG", unix.CAP_SYSLOG, "the kernel's own log, where it refuses that to others"},
	} {
		k := check{Name: capPrefix + c.name, OK: err == nil && data[c.bit/32].Effective&(1<<(c.bit%32)) != 0, Adds: c.adds}
		switch {
		case err != nil:
			k.Why = err.Error()
		case !k.OK:
			k.Why = "this process does not have it"
		case within:
			k.Why = "in a user namespace: it holds for what was made in there, not for other programs of this host"
		}
		checks = append(checks, k)
	}
	return checks
}

// inUserNamespace reports whether the ids of this process are not the host's own
// (user_namespaces(7)).
func inUserNamespace() bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(text)), " ") != "0 0 4294967295"
}

// kernel tries the kernel's features for real, in the caller's own namespace or
// in one that is gone afterwards.
func kernel(ports flow.Ports) (checks []check) {
	for _, c := range []struct {
		name, adds string
		try        func(flow.Ports) error
	}{
		{"inet_diag", "tcp_info: retransmissions, ages of the last ACK and data, bytes; without it only /proc/net/tcp", tryDiag},
		{"notices of sockets that end", "the exact end of a connection, and its last state", tryWatch},
		{"TCP counters", "retransmissions and dropped connections of a whole namespace", tryCounters},
		{"network namespaces", "containers, and the lab", tryNamespace},
		{"user namespaces", "the lab without root", tryUserNamespace},
		{"connection tracking", "what a router remembers of a connection; the lab", tryConntrack},
		{"packet filter rules", "who adds or removes one, and when: a cut made by hand needs no mark then", tryRules},
		{"nf_tables with an owner", "cuts that end with the process that made them (Linux 5.12): the lab", tryOwner},
	} {
		k := check{Name: c.name, OK: true, Adds: c.adds}
		if err := c.try(ports); err != nil {
			k.OK, k.Why = false, err.Error()
		}
		checks = append(checks, k)
	}
	return checks
}

func tryDiag(ports flow.Ports) error {
	diag, err := sockstate.OpenDiag(nil, ports)
	if err != nil {
		return err
	}
	defer diag.Close()
	_, err = diag.Dump()
	return err
}

func tryWatch(ports flow.Ports) error { return opened(sockstate.OpenWatch(nil, ports)) }

func tryCounters(flow.Ports) error {
	_, err := sockstate.ReadCounters("/proc/self")
	return err
}

// opened closes what could be opened.
func opened(c io.Closer, err error) error {
	if err != nil {
		return err
	}
	return c.Close()
}

func tryNamespace(flow.Ports) error {
	err := opened(netns.New())
	if errors.Is(err, os.ErrPermission) {
		_, err = os.Stat(ownNetNS) // whether one may make them is told above
	}
	return err
}

// tryUserNamespace starts a program that does nothing in one.
func tryUserNamespace(flow.Ports) error {
	cmd := exec.Command("/proc/self/exe", "--version")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("make a user namespace: %w (see the sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns)", err)
	}
	return nil
}

func tryConntrack(ports flow.Ports) error {
	ns, err := netns.Open("")
	if err != nil {
		return err
	}
	defer ns.Close()
	table, err := middlebox.OpenConntrack(ns, ports)
	if err != nil {
		return err
	}
	defer table.Close()
	if _, err = table.List(); err == nil { // an empty table is not even asked for
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		err = table.Watch(ctx, func(middlebox.Event) { cancel() })
	}
	return untried(err)
}

func tryRules(ports flow.Ports) error {
	ns, err := netns.Open("")
	if err != nil {
		return err
	}
	defer ns.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	return untried(middlebox.WatchRules(ctx, ns, ports, time.Second, func(middlebox.RuleChange) { cancel() }))
}

func tryOwner(ports flow.Ports) error {
	ns, err := netns.New()
	if err != nil {
		return untried(err)
	}
	defer ns.Close()
	return untried(opened(fault.Open(fault.Config{NS: ns, Method: fault.Local, Ports: ports})))
}

// untried tells a want of rights, named above, from a want of the kernel.
func untried(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("not known, for want of rights: %w", err)
	}
	return err
}
