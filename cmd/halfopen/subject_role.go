package main

import (
	"path/filepath"
	"slices"

	"halfopen/discover"
	"halfopen/netns"
	"halfopen/timeline"
)

// namespaceAt is a namespace that was named by its path. What holds sockets in it tells
// whether shippers or receivers are there; one without any that forwards is a router.
func namespaceAt(path string, programs []discover.Program) *subject {
	s := &subject{netns: path, program: discover.Program{Kind: discover.Unknown, Role: discover.Shipper, Why: []string{"named by --netns " + path}}}
	if dir, name := filepath.Split(path); filepath.Base(dir) == "netns" { // ip-netns(8): /run/netns/NAME
		s.program.Name = name
	}
	ns, err := netns.Open(path)
	if err != nil {
		return s // look says why
	}
	defer ns.Close()
	inode, err := ns.Inode()
	if err != nil {
		return s
	}
	there := slices.DeleteFunc(slices.Clone(programs), func(p discover.Program) bool { return p.NetNS != inode })
	ships := func(p discover.Program) bool { return p.Role == discover.Shipper }
	switch {
	case slices.ContainsFunc(there, ships):
	case len(there) > 0:
		s.program.Role = discover.Receiver
	case forwards(ns):
		s.program.Role = timeline.Router
	}
	return s
}

// forwards reports whether a namespace passes packets on (ip-sysctl.rst: ip_forward).
func forwards(ns *netns.NS) bool {
	return slices.ContainsFunc([]string{"net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"}, func(key string) bool {
		value, _ := ns.Sysctl(key) // what can't be read is no
		return value == "1"
	})
}

// someShips has a shipper among subjects that were named: where nothing is in the
// namespaces yet, each may become one.
func someShips(list []*subject) {
	if slices.ContainsFunc(list, func(s *subject) bool { return s.program.Role != timeline.Router }) {
		return
	}
	for _, s := range list {
		s.program.Role = discover.Shipper
	}
}
