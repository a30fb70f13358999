package logtail

import "regexp"

// Linux; older kernels begin some of these with a small letter.
var kernelPatterns = []Pattern{
	{
		Name:     "kernel-syn-flood",
		Means:    "The listener's queue of new connections was full: the receiver accepts too slowly, or too many connect at once.",
		Source:   "net/ipv4/tcp_input.c, tcp_syn_flood_action",
		Example:  "TCP: request_sock_TCP: Possible SYN flooding on port [::]:5044. Sending cookies.",
		contains: "ossible SYN flooding on port",
	},
	{
		Name:     "kernel-conntrack-full",
		Means:    "The conntrack table is full: packets of new connections are dropped, and entries may have been evicted early.",
		Source:   "net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc",
		Example:  "nf_conntrack: nf_conntrack: table full, dropping packet",
		contains: "table full, dropping packet",
	},
	{
		Name:     "kernel-link-down",
		Means:    "A network interface lost its carrier.",
		Source:   "drivers/net (e1000e netdev.c: NIC Link is Down), drivers/net/phy/phy.c, phy_print_status",
		Example:  "e1000e 0000:00:1f.6 eth0: NIC Link is Down",
		contains: "ink ",
		regexp:   regexp.MustCompile(`\b[Ll]ink (?:is )?[Dd]own\b`),
	},
	{
		Name:     "kernel-link-up",
		Means:    "A network interface has its carrier again.",
		Source:   "drivers/net (igc_main.c: NIC Link is Up), drivers/net/phy/phy.c, phy_print_status",
		Example:  "igc 0000:03:00.0 enp3s0: NIC Link is Up 2500 Mbps Full Duplex, Flow Control: RX/TX",
		contains: "ink ",
		regexp:   regexp.MustCompile(`\b[Ll]ink (?:is )?[Uu]p\b`),
	},
	{
		Name:     "kernel-oom-kill",
		Means:    "The kernel killed a process for lack of memory; its connections ended with it.",
		Source:   "mm/oom_kill.c, __oom_kill_process",
		Example:  "Memory cgroup out of memory: Killed process 2201 (java) total-vm:5632940kB, anon-rss:1042188kB, file-rss:0kB, shmem-rss:0kB, UID:1000 pgtables:2540kB oom_score_adj:0",
		contains: "ut of memory: Kill",
		regexp:   regexp.MustCompile(`[Oo]ut of memory: Kill(?:ed)? process \d+ \(`),
	},
	{
		Name:     "kernel-tcp-memory",
		Means:    "TCP used up the memory it may have (tcp_mem): sockets are closed and segments dropped.",
		Source:   "net/ipv4/tcp.c, tcp_check_oom",
		Example:  "TCP: out of memory -- consider tuning tcp_mem",
		contains: "out of memory -- consider tuning tcp_mem",
	},
}
