package middlebox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
)

// legacyTables are the tables of iptables-legacy in one namespace, IPv4 and IPv6.
type legacyTables struct {
	ns    *netns.NS
	fds   [2]int // raw sockets, which the tables are read through
	last  time.Time
	rules map[string]int // how often each rule stood there
	text  map[string]Rule
	ports flow.Ports
	first map[string]uint64 // as ruleWatch.counting
}

// legacyFamily is what differs between ip_tables and ip6_tables.
type legacyFamily struct {
	name   string
	domain int
	level  int
	names  string // file below /proc/net that lists the tables in use
	ip     int    // sizeof struct ipt_ip, ip6t_ip6
	proto  int    // offset of the protocol in it
	invert int    // offset of the flags that negate
	addr   int    // length of an address
}

var legacyFamilies = [...]legacyFamily{
	{"ip legacy", unix.AF_INET, unix.SOL_IP, "ip_tables_names", 84, 80, 83, 4},
	{"ip6 legacy", unix.AF_INET6, unix.SOL_IPV6, "ip6_tables_names", 136, 128, 132, 16},
}

func openLegacy(ns *netns.NS, ports flow.Ports) (*legacyTables, error) {
	t := &legacyTables{ns: ns, ports: ports, fds: [2]int{-1, -1}, rules: map[string]int{}, text: map[string]Rule{}, first: map[string]uint64{}}
	err := ns.Do(func() error {
		for i, f := range legacyFamilies {
			fd, err := unix.Socket(f.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
			if errors.Is(err, unix.EAFNOSUPPORT) {
				continue // no IPv6 on this host
			}
			if err != nil {
				return fmt.Errorf("open raw socket: %w", err)
			}
			t.fds[i] = fd
		}
		return nil
	})
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *legacyTables) close() {
	for _, fd := range t.fds {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// compare tells what came and went since the last look.
func (t *legacyTables) compare(fn func(RuleChange)) error {
	now := time.Now()
	var within time.Duration
	if !t.last.IsZero() {
		within = now.Sub(t.last)
	}
	t.last = now
	seen := map[string]int{}
	for i, f := range legacyFamilies {
		if t.fds[i] < 0 {
			continue
		}
		rules, err := t.read(f, t.fds[i])
		if err != nil {
			return err
		}
		for _, r := range rules {
			key := strings.Join([]string{r.Family, r.Table, r.Chain, r.Text}, " ")
			if old, ok := t.text[key]; ok && t.rules[key] > 0 && old.Loose != r.Loose && r.Concerns(t.ports) {
				fn(RuleChange{Kind: Update, Time: now, Within: within, Rule: &r})
				t.first[key] = *r.Packets
			}
			t.text[key] = r
			seen[key]++
		}
	}
	change := func(kind EventKind, key string, n int) {
		for range n {
			r := t.text[key]
			fn(RuleChange{Kind: kind, Time: now, Within: within, Rule: &r})
		}
	}
	for key, n := range seen {
		change(New, key, n-t.rules[key])
		t.count(fn, key, within == 0)
	}
	for key, n := range t.rules {
		change(Destroy, key, n-seen[key])
		if seen[key] == 0 {
			delete(t.text, key)
			delete(t.first, key)
		}
	}
	t.rules = seen
	return nil
}

// count tells once of a rule that came meanwhile that it has met packets.
func (t *legacyTables) count(fn func(RuleChange), key string, before bool) {
	r := t.text[key]
	first, known := t.first[key]
	if before || first == met || !known && t.rules[key] > 0 || !r.Concerns(t.ports) {
		return
	}
	t.first[key] = first // a rule begins at zero
	if *r.Packets > first {
		t.first[key] = met
		fn(RuleChange{Kind: Counted, Time: t.last, Rule: &r})
	}
}

// read reads the tables that are in use; asking for another would make it.
func (t *legacyTables) read(f legacyFamily, fd int) (rules []Rule, err error) {
	names, err := os.ReadFile(t.ns.ProcRoot() + "/net/" + f.names)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // a kernel without them
	}
	if err != nil {
		return nil, fmt.Errorf("list legacy tables: %w", err)
	}
	for table := range strings.FieldsSeq(string(names)) {
		blob, hooks, err := getTable(f, fd, table)
		if err != nil {
			return nil, fmt.Errorf("read legacy table %s %q: %w", f.name, table, err)
		}
		found, err := decodeLegacy(f, table, blob, hooks)
		if err != nil {
			return nil, err
		}
		rules = append(rules, found...)
	}
	return rules, nil
}

// Options of a raw socket, include/uapi/linux/netfilter_ipv4/ip_tables.h; those
// of ip6_tables have the same numbers and structs.
const (
	soGetInfo    = 64 // struct ipt_getinfo
	soGetEntries = 65 // struct ipt_get_entries
	infoSize     = 84 // name 32, valid_hooks 4, hook_entry 20, underflow 20, num_entries 4, size 4
	getTries     = 5
)

// getTable returns a table's entries, and where the chain of each hook begins.
func getTable(f legacyFamily, fd int, table string) (blob []byte, hooks map[uint32]string, err error) {
	for range getTries {
		info := make([]byte, infoSize)
		copy(info[:31], table)
		if err := getsockopt(fd, f.level, soGetInfo, info); err != nil {
			return nil, nil, err
		}
		u32 := func(at int) uint32 { return binary.NativeEndian.Uint32(info[at:]) }
		hooks = map[uint32]string{}
		for i, name := range []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"} {
			if u32(32)&(1<<i) != 0 {
				hooks[u32(36+4*i)] = name
			}
		}
		size := u32(80)
		const head = 40 // name 32, size 4, padding 4
		all := make([]byte, head+int(size))
		copy(all[:31], table)
		binary.NativeEndian.PutUint32(all[32:], size)
		err = getsockopt(fd, f.level, soGetEntries, all)
		if errors.Is(err, unix.EAGAIN) {
			continue // the table changed its size meanwhile
		}
		return all[head:], hooks, err
	}
	return nil, nil, err
}

func getsockopt(fd, level, opt int, buf []byte) error {
	size := uint32(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
	runtime.KeepAlive(buf)
	if errno != 0 {
		return errno
	}
	return nil
}
