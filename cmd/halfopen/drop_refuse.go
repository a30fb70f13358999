package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"

	"halfopen/fault"
	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
)

const anyway = "; if that is what you want: --yes-i-mean-it"

// refuse says no to what would hurt more than it was meant to.
func (o *dropOptions) refuse(s *scene, cfg fault.Config) error {
	if o.anyway {
		return nil
	}
	if cfg.Everything {
		return usage("neither a port nor a connection is named: everything in %s would be met. Give --port or --flow%s", s.name, anyway)
	}
	over, err := sessions(s.ns)
	if err != nil {
		return fmt.Errorf("look whether the session that this is run from would be cut: %w%s", err, anyway)
	}
	for _, k := range over {
		if meets(cfg, k.flow) {
			return usage("the session that this is run from (%s, %s) would be cut%s", k.flow, k.how, anyway)
		}
	}
	if cfg.Method.Name == fault.Idle.Name {
		n, err := s.others(o)
		if err != nil {
			return err
		}
		if n > 0 {
			return usage("the timeout is the same for all connections that %s tracks: %d others would be forgotten too, once nothing flows over them%s", s.name, n, anyway)
		}
	}
	return nil
}

// meets reports whether the fault's rules may match packets of a connection.
func meets(cfg fault.Config, f flow.Flow) bool {
	if cfg.Flow != nil {
		return *cfg.Flow == f || *cfg.Flow == f.Reverse()
	}
	return cfg.Ports.Match(f)
}

// session is a connection that this program is run over.
type session struct {
	flow flow.Flow
	how  string
}

// sessions finds the connections that this program is run over: the one that
// sshd tells of, and those that an ancestor of this process holds in the
// namespace (sudo forgets what sshd tells).
func sessions(ns *netns.NS) (list []session, err error) {
	if f, ok := parseSSH(os.Getenv("SSH_CONNECTION")); ok {
		list = append(list, session{f, "SSH_CONNECTION"})
	}
	held := map[uint32]string{} // holder by the socket's inode
	for pid := os.Getppid(); pid > 0; {
		p, err := procfs.NewProc(pid)
		if err != nil {
			break
		}
		st, err := p.Stat()
		if err != nil {
			break
		}
		targets, _ := p.FileDescriptorTargets()
		for _, t := range targets {
			digits, ok := strings.CutPrefix(t, "socket:[")
			inode, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 32)
			if ok && err == nil {
				held[uint32(inode)] = fmt.Sprintf("held by %s, process %d", st.Comm, pid)
			}
		}
		pid = st.PPID
	}
	for _, table := range []string{"tcp", "tcp6"} {
		f, err := os.Open(filepath.Join(ns.ProcRoot(), "net", table))
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return nil, err
		}
		socks, _, err := sockstate.ParseProc(f, nil, nil)
		f.Close()
		if err != nil {
			return nil, err
		}
		for _, k := range socks {
			if how, ok := held[k.Inode]; ok && k.State == sockstate.Established {
				list = append(list, session{k.Flow, how})
			}
		}
	}
	return list, nil
}

// parseSSH reads "client port server port" (sshd(8), SSH_CONNECTION).
func parseSSH(value string) (f flow.Flow, ok bool) {
	field := strings.Fields(value)
	if len(field) != 4 {
		return f, false
	}
	client, cerr := netip.ParseAddrPort(netipJoin(field[0], field[1]))
	server, serr := netip.ParseAddrPort(netipJoin(field[2], field[3]))
	return flow.New(server, client), cerr == nil && serr == nil
}

// netipJoin is net.JoinHostPort without the zone of a link-local address.
func netipJoin(host, port string) string {
	host, _, _ = strings.Cut(host, "%")
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}
