package discover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"

	"halfopen/flow"
	"halfopen/sockstate"
)

// table reads the TCP sockets of a process' namespace. That of another user's
// process can be read, though its namespace has no name then.
func (f *finder) table(pid int, netns uint64, keep func(flow.Flow) bool) ([]sockstate.Socket, error) {
	if socks, ok := f.tables[netns]; ok && netns != 0 {
		return socks, nil
	}
	var socks []sockstate.Socket
	for _, name := range []string{"tcp", "tcp6"} {
		file, err := os.Open(f.path(pid, "net", name))
		if errors.Is(err, fs.ErrNotExist) && name == "tcp6" {
			break // a host without IPv6
		}
		if err != nil {
			return nil, err
		}
		socks, _, err = sockstate.ParseProc(file, keep, socks)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("read socket table %q: %w", file.Name(), err)
		}
	}
	if keep == nil && netns != 0 {
		f.tables[netns] = socks
	}
	return socks, nil
}

// connect notes the sockets of a program, the ports they tell, and its role.
func (f *finder) connect(k *process, set settings) {
	held := map[uint32]bool{}
	for _, target := range k.targets {
		if digits, ok := strings.CutPrefix(target, "socket:["); ok {
			if n, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 32); err == nil {
				held[uint32(n)] = true
			}
		}
	}
	var socks []sockstate.Socket
	if len(held) > 0 {
		var err error
		if socks, err = f.table(k.PID, k.NetNS, nil); err != nil {
			k.miss("its socket table: %v", err)
		}
	}
	to := union(f.Ports, set.ships)
	at := union(f.Ports, set.receives)
	for _, s := range socks {
		if held[s.Inode] && s.State == sockstate.Listen {
			k.Listeners = append(k.Listeners, s)
			if k.Kind == Logstash && !ofStats(k.Kind, s.Local.Port()) {
				at = union(at, flow.NewPorts(s.Local.Port()))
			}
		}
	}
	var out, in []sockstate.Socket
	for _, s := range socks {
		switch {
		case !held[s.Inode] || s.State == sockstate.Listen:
		case k.listensOn(s.Local.Port()):
			if at.Has(s.Local.Port()) {
				in = append(in, s)
			}
		case to.Has(s.Remote.Port()):
			out = append(out, s)
		}
	}
	k.settle(set, at, out, in)
}

func (p *Program) listensOn(port uint16) bool {
	return slices.ContainsFunc(p.Listeners, func(s sockstate.Socket) bool { return s.Local.Port() == port })
}

// settle decides the role from the connections out and in, and with it which of
// them and which ports count.
func (p *Program) settle(set settings, at flow.Ports, out, in []sockstate.Socket) {
	var open flow.Ports
	for _, s := range p.Listeners {
		if at.Has(s.Local.Port()) {
			open = union(open, flow.NewPorts(s.Local.Port()))
		}
	}
	ships := len(out) > 0 || len(set.ships) > 0
	receives := len(open) > 0
	if receives && (p.Kind == Logstash || !ships) || p.Kind == Logstash && !ships {
		p.Role, p.Connections, p.Ports = Receiver, in, union(open, set.receives)
		for _, port := range open {
			p.say("it listens on port %d", port)
		}
		if len(in) > 0 {
			p.say("it holds %d of the connections there", len(in))
		}
		return
	}
	p.Role, p.Connections, p.Ports = Shipper, out, set.ships
	for _, s := range out {
		p.Ports = union(p.Ports, flow.NewPorts(s.Remote.Port()))
		p.say("socket %d, %s to %s, is its own", s.Inode, s.State, s.Remote)
	}
}

func union(a, b flow.Ports) flow.Ports {
	if len(a)+len(b) == 0 {
		return nil
	}
	return flow.NewPorts(slices.Concat(a, b)...)
}

// strangers are the other processes that hold connections to watched ports, or
// listen on them, and what nobody was found for.
func (f *finder) strangers(ctx context.Context, pfs procfs.FS, seats map[uint64]int, known []*process) ([]*process, error) {
	taken := map[uint32]bool{}
	for _, k := range known {
		for _, s := range slices.Concat(k.Connections, k.Listeners) {
			taken[s.Inode] = true
		}
	}
	if len(seats) == 0 {
		return nil, fmt.Errorf("%w: no network namespace can be read below %q", fs.ErrPermission, f.ProcRoot)
	}
	loose := map[uint64][]sockstate.Socket{}
	var inodes []uint32
	for netns, pid := range seats {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		socks, err := f.table(pid, netns, f.Ports.Match)
		if err != nil {
			continue // the last process of it has ended
		}
		for _, s := range socks {
			wanted := s.State == sockstate.Established && f.Ports.Match(s.Flow) || s.State == sockstate.Listen && f.Ports.Has(s.Local.Port())
			if wanted && s.Inode != 0 && !taken[s.Inode] {
				loose[netns] = append(loose[netns], s)
				inodes = append(inodes, s.Inode)
			}
		}
	}
	owners, err := sockstate.Owners(f.ProcRoot, inodes)
	if err != nil {
		return nil, err
	}
	f.hidden = owners.Unreadable
	return f.introduce(ctx, pfs, loose, owners), nil
}

// introduce makes a program of each owner of sockets that nobody known has; what
// has no visible owner is one without a PID, per namespace and role.
func (f *finder) introduce(ctx context.Context, pfs procfs.FS, loose map[uint64][]sockstate.Socket, owners sockstate.Ownership) (out []*process) {
	type seat struct {
		netns    uint64
		receives bool
	}
	unseen := map[seat][]sockstate.Socket{}
	met := map[int]bool{}
	for netns, socks := range loose {
		for _, s := range socks {
			pid := owners.ByInode[s.Inode].PID
			switch {
			case pid == 0 && owners.Unreadable > 0:
				at := seat{netns, s.State == sockstate.Listen || !f.Ports.Has(s.Remote.Port())}
				unseen[at] = append(unseen[at], s)
			case pid == 0 || met[pid]: // it has ended meanwhile, or is there already
			default:
				met[pid] = true
				if k := f.stranger(ctx, pfs, pid, netns); k != nil {
					out = append(out, k)
				}
			}
		}
	}
	for at, socks := range unseen {
		k := &process{Program: Program{Kind: Unknown, Role: Shipper, NetNS: at.netns}}
		if at.receives {
			k.Role = Receiver
		}
		k.miss("which process holds these sockets is not known: it is another user's (%s)", needs)
		k.adopt(socks)
		out = append(out, k)
	}
	return out
}

// stranger describes a process that holds sockets on watched ports, nil if it has
// ended.
func (f *finder) stranger(ctx context.Context, pfs procfs.FS, pid int, netns uint64) *process {
	p, err := pfs.Proc(pid)
	if err != nil {
		return nil
	}
	k := f.meet(p, netns)
	if k != nil {
		k.Kind = Unknown
		f.describe(ctx, k)
	}
	return k
}

func (p *Program) adopt(socks []sockstate.Socket) {
	for _, s := range socks {
		port := s.Remote.Port()
		if p.Role == Receiver {
			port = s.Local.Port()
		}
		p.Ports = union(p.Ports, flow.NewPorts(port))
		if s.State == sockstate.Listen {
			p.Listeners = append(p.Listeners, s)
		} else {
			p.Connections = append(p.Connections, s)
		}
	}
	p.say("sockets on watched port %v, %d of them", p.Ports, len(socks))
}
