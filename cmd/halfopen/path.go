package main

import (
	"slices"
	"strconv"
	"time"

	"halfopen/collect"
	"halfopen/fault"
	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/netns"
	"halfopen/timeline"
)

// How often the path is looked at: what the kernel does not tell by itself.
const (
	rulesEvery = 250 * time.Millisecond // iptables-legacy, and counters of rules that came
	trackEvery = time.Second            // entries of conntrack
	linksEvery = time.Second            // errors and drops
	trackMost  = 10 * time.Second       // that one record of unchanged entries stands for
	trackShare = 100                    // of a core: a hundredth at most
)

// pathOf reads what a namespace does with the packets that pass it.
type pathOf struct {
	ns      *netns.NS
	ports   flow.Ports
	table   *middlebox.Conntrack
	forward bool // of connections whose sockets are elsewhere
	account bool // conntrack is to count
}

func (o recordOptions) openPathOf(ns *netns.NS) (p pathOf, done func(), err error) {
	ports := o.ports.set()
	table, err := middlebox.OpenConntrack(ns, ports)
	if err != nil {
		return p, nil, err
	}
	return pathOf{ns: ns, ports: ports, table: table, account: o.account}, func() { table.Close() }, nil
}

func (p pathOf) sources(at string, where collect.Where) []collect.Source {
	links := &collect.Links{At: at, Where: where, NS: p.ns, Ports: p.ports, Every: linksEvery}
	if p.forward {
		links.Table = p.table
	}
	var list []collect.Source
	if p.account {
		list = append(list, &collect.Accounting{At: at, NS: p.ns, Ledger: fault.OpenLedger()})
	}
	return append(list,
		&collect.Rules{At: at, Where: where, NS: p.ns, Ports: p.ports, Every: rulesEvery},
		&collect.Conntrack{At: at, Where: where, Table: p.table, Every: trackEvery, Most: trackMost, Share: trackShare},
		&collect.Tracking{At: at, Where: where, Table: p.table},
		links,
	)
}

// around is a namespace in which nothing that is watched has its sockets, but
// through which the packets of containers may be forwarded: its rules, its NAT and
// its interfaces are on their way.
type around struct {
	place timeline.Place
	pathOf
}

// hostNetNS is that of the first process: the host's, unless this one sees only a
// container's processes.
const hostNetNS = "/proc/1/ns/net"

// openAround opens the host's namespace and this process's own, if all subjects are
// elsewhere and if they may be read.
func (o recordOptions) openAround(subjects []*subject) (list []around, done func()) {
	var closers []func()
	taken := map[uint64]bool{}
	for _, s := range subjects {
		taken[s.place.NetNS] = true
	}
	for _, where := range []struct{ name, path string }{{"host", hostNetNS}, {"recorder", ownNetNS}} {
		ns, err := netns.Open(where.path)
		if err != nil {
			continue
		}
		inode, err := ns.Inode()
		if err != nil || taken[inode] {
			ns.Close()
			continue
		}
		p, closePath, err := o.openPathOf(ns)
		if err != nil {
			ns.Close()
			continue
		}
		taken[inode], p.forward = true, true
		list = append(list, around{collect.Place(unusedName(where.name, subjects), timeline.Router, ns), p})
		closers = append(closers, func() { closePath(); ns.Close() })
	}
	return list, func() {
		for _, c := range closers {
			c()
		}
	}
}

func unusedName(base string, subjects []*subject) string {
	name := base
	for n := 2; slices.ContainsFunc(subjects, func(s *subject) bool { return s.name == name }); n++ {
		name = base + "-" + strconv.Itoa(n)
	}
	return name
}
