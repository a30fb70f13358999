package sockstate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/netns"
)

// sysctlRoot shows the network namespace of the thread that opens a file below
// it, not that of a process named in the path.
const sysctlRoot = "/proc/sys/net"

// ReadSysctls reads the TCP settings of a namespace; nil is the caller's own. A
// setting that the kernel does not have is nil in the result.
func ReadSysctls(ns *netns.NS) (Sysctls, error) {
	var s Sysctls
	read := func() (err error) {
		s, err = readSysctls(os.DirFS(sysctlRoot))
		return err
	}
	var err error
	if ns == nil {
		err = read()
	} else {
		err = ns.Do(read)
	}
	if err != nil {
		return Sysctls{}, fmt.Errorf("read TCP settings: %w", err)
	}
	// The coarse clock moves once a tick (clock_getres(2)).
	var tick unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &tick); err == nil {
		s.Tick = time.Duration(tick.Nano())
	}
	return s, nil
}

func readSysctls(root fs.FS) (Sysctls, error) {
	r := sysctlReader{root: root}
	s := Sysctls{
		Retries1:          r.number("ipv4/tcp_retries1"),
		Retries2:          r.number("ipv4/tcp_retries2"),
		OrphanRetries:     r.number("ipv4/tcp_orphan_retries"),
		SynRetries:        r.number("ipv4/tcp_syn_retries"),
		SynLinearTimeouts: r.number("ipv4/tcp_syn_linear_timeouts"),
		SynackRetries:     r.number("ipv4/tcp_synack_retries"),
		KeepaliveTime:     r.time("ipv4/tcp_keepalive_time", time.Second),
		KeepaliveInterval: r.time("ipv4/tcp_keepalive_intvl", time.Second),
		KeepaliveProbes:   r.number("ipv4/tcp_keepalive_probes"),
		FinTimeout:        r.time("ipv4/tcp_fin_timeout", time.Second),
		RTOMin:            r.time("ipv4/tcp_rto_min_us", time.Microsecond),
		RTOMax:            r.time("ipv4/tcp_rto_max_ms", time.Millisecond),
		MaxSynBacklog:     r.number("ipv4/tcp_max_syn_backlog"),
		Syncookies:        r.number("ipv4/tcp_syncookies"),
		Somaxconn:         r.number("core/somaxconn"),
		RMem:              r.memory("ipv4/tcp_rmem"),
		WMem:              r.memory("ipv4/tcp_wmem"),
		CongestionControl: r.text("ipv4/tcp_congestion_control"),
	}
	return s, r.err
}

// sysctlReader reads one setting a file and keeps the first error; a missing
// file is none.
type sysctlReader struct {
	root fs.FS
	err  error
}

func (r *sysctlReader) text(name string) string {
	b, err := fs.ReadFile(r.root, filepath.FromSlash(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && r.err == nil {
		r.err = err
	}
	return strings.TrimSpace(string(b))
}

func (r *sysctlReader) numbers(name string) (ns []int) {
	text := r.text(name)
	for field := range strings.FieldsSeq(text) {
		n, err := strconv.Atoi(field)
		if err != nil {
			if r.err == nil {
				r.err = fmt.Errorf("%s: want numbers, got %q", name, text)
			}
			return nil
		}
		ns = append(ns, n)
	}
	return ns
}

func (r *sysctlReader) number(name string) *int {
	ns := r.numbers(name)
	if len(ns) != 1 {
		return nil
	}
	return &ns[0]
}

func (r *sysctlReader) time(name string, unit time.Duration) *time.Duration {
	n := r.number(name)
	if n == nil {
		return nil
	}
	d := time.Duration(*n) * unit
	return &d
}

func (r *sysctlReader) memory(name string) *BufferSize {
	ns := r.numbers(name)
	if len(ns) != 3 {
		return nil
	}
	return &BufferSize{Min: ns[0], Default: ns[1], Max: ns[2]}
}
