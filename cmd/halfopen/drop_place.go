package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"halfopen/fault"
	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/sockstate"
)

// scene is where a drop takes place, and what it finds there.
type scene struct {
	*view
	conntrack *middlebox.Conntrack // nil where there is none
	local     []flow.Flow          // connections of this namespace's own sockets, the client's end as Local
	through   []middlebox.Entry    // connections that it tracks
}

// look finds the connections on the ports that are meant.
func look(v *view, ports flow.Ports, meant func(flow.Flow) bool) (*scene, error) {
	if !v.entered() {
		return nil, fmt.Errorf("%s can't be entered: that takes CAP_SYS_ADMIN: run as root", v.name)
	}
	s := &scene{view: v}
	if len(ports) == 0 {
		return s, nil
	}
	socks, _, err := v.sockets(ports)
	if err != nil {
		return nil, err
	}
	for _, k := range socks {
		f := k.Flow
		if ports.Has(f.Local.Port()) && !ports.Has(f.Remote.Port()) {
			f = f.Reverse()
		}
		if k.State == sockstate.Established && meant(f) && !slices.Contains(s.local, f) {
			s.local = append(s.local, f)
		}
	}
	if s.conntrack, err = middlebox.OpenConntrack(v.ns, ports); err != nil {
		return nil, err
	}
	entries, err := s.conntrack.List()
	// A kernel that does not track connections has no such file. Without the right
	// to read them it can still be said what would be done.
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
		s.close()
		return nil, err
	}
	for _, e := range entries {
		if e.State == "ESTABLISHED" && (meant(e.Orig) || meant(fault.AtHook(e)) || meant(e.Reply.Reverse())) {
			s.through = append(s.through, e)
		}
	}
	return s, nil
}

func (s *scene) close() {
	if s.conntrack != nil {
		s.conntrack.Close()
	}
}

// watched are the ports of the connections in question.
func (o *dropOptions) watched() flow.Ports {
	if o.flow.given {
		return flow.NewPorts(o.flow.flow.Remote.Port())
	}
	return o.ports.asked()
}

func (o *dropOptions) about(f flow.Flow) bool {
	return !o.flow.given || f == o.flow.flow
}

// config is the fault that the options ask for, here.
func (o *dropOptions) config(m fault.Method, s *scene, warn io.Writer) (fault.Config, error) {
	cfg := fault.Config{
		NS: s.ns, Method: m, Hook: fault.Hook(o.hook), Ways: fault.Ways(o.ways), Ports: o.ports.asked(), Everything: o.everything(),
		Interface: o.iface, Loss: float64(o.loss), Conntrack: s.conntrack, Ledger: fault.OpenLedger(),
	}
	if o.flow.given {
		cfg.Flow = &o.flow.flow
	}
	if m.Name == fault.Idle.Name {
		cfg.Idle = o.idle
	}
	if cfg.Hook == "" {
		cfg.Hook = s.hook(m, cfg.Ways)
		if cfg.Hook != m.Hook && m.Hook == fault.HookForward {
			fmt.Fprintf(warn, "halfopen: connections on the port end in %s: --hook %s\n", s.name, cfg.Hook)
		}
	}
	if cfg.Hook == fault.HookInterface && cfg.Interface == "" {
		var err error
		if cfg.Interface, err = s.device(); err != nil {
			return cfg, err
		}
	}
	if cfg.Hook == fault.HookOutput || cfg.Hook == fault.HookLocal {
		fmt.Fprintf(warn, "halfopen: forwarded traffic, that of containers among it, does not pass %s: --hook forward meets it\n", strings.ToUpper(string(cfg.Hook)))
	}
	return cfg, nil
}

// hook is where the method belongs, or where the connections are: what ends here
// is not forwarded.
func (s *scene) hook(m fault.Method, ways fault.Ways) fault.Hook {
	switch {
	case m.Hook == fault.HookForward && len(s.local) > 0:
		return fault.HookLocal
	case m.Hook == fault.HookOutput && ways != "" && ways != fault.Out:
		return fault.HookLocal
	}
	return m.Hook
}

// device is the interface that the connections use, by their address here.
func (s *scene) device() (name string, err error) {
	err = s.ns.Do(func() error {
		all, err := net.Interfaces()
		if err != nil {
			return fmt.Errorf("list interfaces: %w", err)
		}
		var names []string
		for _, i := range all {
			names = append(names, i.Name)
			addrs, err := i.Addrs()
			if err != nil {
				return fmt.Errorf("list addresses of interface %q: %w", i.Name, err)
			}
			if slices.ContainsFunc(addrs, func(a net.Addr) bool { return s.uses(a) }) {
				name = i.Name
			}
		}
		if name == "" {
			return usage("no connection on the port tells which interface is meant: give --interface, one of %s", strings.Join(names, ", "))
		}
		return nil
	})
	return name, err
}

// uses reports whether a local connection has this address.
func (s *scene) uses(a net.Addr) bool {
	prefix, err := netip.ParsePrefix(a.String())
	return err == nil && slices.ContainsFunc(s.local, func(f flow.Flow) bool {
		return f.Local.Addr() == prefix.Addr() || f.Remote.Addr() == prefix.Addr()
	})
}

// before are the connections that are there now, as the hook sees them.
func (s *scene) before(hook fault.Hook) []flow.Flow {
	var list []flow.Flow
	add := func(f flow.Flow) {
		if !slices.Contains(list, f) {
			list = append(list, f)
		}
	}
	if hook != fault.HookForward {
		for _, f := range s.local {
			add(f)
		}
	}
	for _, e := range s.through {
		switch hook {
		case fault.HookForward, fault.HookProxy:
			add(fault.AtHook(e))
		case fault.HookInterface: // on the one interface by the one name, on the other by the other
			add(e.Orig)
			add(e.Reply.Reverse())
		}
	}
	return list
}

// others counts the TCP connections that are tracked here and not meant.
func (s *scene) others(o *dropOptions) (int, error) {
	every := make(flow.Ports, 0, 1<<16-1)
	for p := 1; p < 1<<16; p++ {
		every = append(every, uint16(p))
	}
	c, err := middlebox.OpenConntrack(s.ns, every)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	all, err := c.List()
	if err != nil {
		return 0, err
	}
	watched := o.watched()
	return len(slices.DeleteFunc(all, func(e middlebox.Entry) bool { return e.Match(watched) })), nil
}
