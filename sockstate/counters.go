package sockstate

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// Counters are TCP event counts of one network namespace since it was made, from
// net/snmp (RFC 4022) and net/netstat (include/uapi/linux/snmp.h). One that the
// running kernel does not have is nil.
type Counters struct {
	RetransSegs *uint64 `json:"retrans_segs,omitempty"` // segments sent again
	OutRsts     *uint64 `json:"out_rsts,omitempty"`     // segments sent with RST
	EstabResets *uint64 `json:"estab_resets,omitempty"` // ESTABLISHED or CLOSE_WAIT to CLOSE

	TCPTimeouts          *uint64 `json:"tcp_timeouts,omitempty"`              // the retransmission timer fired
	TCPLostRetransmit    *uint64 `json:"tcp_lost_retransmit,omitempty"`       // a retransmission was lost too
	TCPRetransFail       *uint64 `json:"tcp_retrans_fail,omitempty"`          // this host itself refused to send it
	TCPAbortOnTimeout    *uint64 `json:"tcp_abort_on_timeout,omitempty"`      // connections given up
	TCPKeepAlive         *uint64 `json:"tcp_keep_alive,omitempty"`            // probes sent
	ListenOverflows      *uint64 `json:"listen_overflows,omitempty"`          // the accept queue was full
	ListenDrops          *uint64 `json:"listen_drops,omitempty"`              // requests dropped, overflows included
	TCPReqQFullDoCookies *uint64 `json:"tcp_req_q_full_do_cookies,omitempty"` // the request queue was full: cookie sent
	SyncookiesSent       *uint64 `json:"syncookies_sent,omitempty"`
	SyncookiesFailed     *uint64 `json:"syncookies_failed,omitempty"`      // ACKs with a wrong cookie
	TCPToZeroWindowAdv   *uint64 `json:"tcp_to_zero_window_adv,omitempty"` // this host closed its window
}

// ReadCounters reads the counters of the network namespace of a process, or
// thread; root is its /proc folder, as for ReadProc.
func ReadCounters(root string) (Counters, error) {
	proc, err := procOf(root)
	if err != nil {
		return Counters{}, fmt.Errorf("read TCP counters: %w", err)
	}
	snmp, err := proc.Snmp()
	if err != nil {
		return Counters{}, fmt.Errorf("read TCP counters: %w", err)
	}
	netstat, err := proc.Netstat()
	if err != nil {
		return Counters{}, fmt.Errorf("read TCP counters: %w", err)
	}
	// procfs v0.23.0 has a field for TCPAbortOnTimeout and never fills it.
	abortOnTimeout, err := readTCPExt(root, "TCPAbortOnTimeout")
	if err != nil {
		return Counters{}, fmt.Errorf("read TCP counters: %w", err)
	}
	return Counters{
		RetransSegs: count(snmp.Tcp.RetransSegs),
		OutRsts:     count(snmp.Tcp.OutRsts),
		EstabResets: count(snmp.Tcp.EstabResets),

		TCPTimeouts:          count(netstat.TCPTimeouts),
		TCPLostRetransmit:    count(netstat.TCPLostRetransmit),
		TCPRetransFail:       count(netstat.TCPRetransFail),
		TCPAbortOnTimeout:    abortOnTimeout,
		TCPKeepAlive:         count(netstat.TCPKeepAlive),
		ListenOverflows:      count(netstat.ListenOverflows),
		ListenDrops:          count(netstat.ListenDrops),
		TCPReqQFullDoCookies: count(netstat.TCPReqQFullDoCookies),
		SyncookiesSent:       count(netstat.SyncookiesSent),
		SyncookiesFailed:     count(netstat.SyncookiesFailed),
		TCPToZeroWindowAdv:   count(netstat.TCPToZeroWindowAdv),
	}, nil
}

// procOf opens a process by its folder: procfs wants the parent and the number,
// which also serves for /proc/self/task/TID.
func procOf(root string) (procfs.Proc, error) {
	dir, err := filepath.EvalSymlinks(root) // /proc/self
	if err != nil {
		return procfs.Proc{}, err
	}
	id, err := strconv.Atoi(filepath.Base(dir))
	if err != nil {
		return procfs.Proc{}, fmt.Errorf("%q is not the folder of a process", root)
	}
	fs, err := procfs.NewFS(filepath.Dir(dir))
	if err != nil {
		return procfs.Proc{}, err
	}
	return fs.Proc(id)
}

// readTCPExt reads one counter of net/netstat: a line of names and a line of
// values, both headed "TcpExt:".
func readTCPExt(root, name string) (*uint64, error) {
	text, err := os.ReadFile(filepath.Join(root, "net/netstat"))
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "TcpExt:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		i := slices.Index(names, name)
		if i < 0 || i >= len(fields) {
			return nil, nil
		}
		n, err := strconv.ParseUint(fields[i], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: want a number, got %q", name, fields[i])
		}
		return &n, nil
	}
	return nil, nil
}

func count(v *float64) *uint64 {
	if v == nil || *v < 0 {
		return nil
	}
	n := uint64(*v)
	return &n
}
