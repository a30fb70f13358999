package sockstate

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
)

// Owner is a process that holds a socket.
type Owner struct {
	PID     int       `json:"pid"`
	Name    string    `json:"name"`  // comm, at most 15 bytes
	Start   time.Time `json:"start"` // of the process, by the wall clock; resolution 10 ms
	Cmdline []string  `json:"cmdline,omitempty"`
}

// Ownership tells which processes hold which sockets.
type Ownership struct {
	// ByInode has the owner of each socket that one was found for. Of several
	// processes that share a socket it is the one that started first.
	ByInode map[uint32]Owner
	// Unreadable counts the processes whose descriptors this one may not list:
	// a socket that is missing above may be theirs.
	Unreadable int
}

// Owners finds the processes below a /proc folder that hold the sockets with the
// given inodes. Inodes are unique on a host, whatever the network namespace. It
// reads every descriptor of every process, so call it when sockets appear, not
// with every reading. It takes root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH,
// to see the processes of other users.
func Owners(root string, inodes []uint32) (Ownership, error) {
	own := Ownership{ByInode: make(map[uint32]Owner)}
	wanted := make(map[uint32]bool)
	for _, n := range inodes {
		wanted[n] = n != 0
	}
	pfs, err := procfs.NewFS(root)
	if err != nil {
		return own, fmt.Errorf("find owners of sockets: %w", err)
	}
	procs, err := pfs.AllProcs()
	if err != nil {
		return own, fmt.Errorf("find owners of sockets: %w", err)
	}
	boot, err := pfs.Stat()
	if err != nil {
		return own, fmt.Errorf("find owners of sockets: %w", err)
	}
	for _, p := range procs {
		targets, err := p.FileDescriptorTargets()
		if errors.Is(err, fs.ErrPermission) {
			own.Unreadable++
		}
		if err != nil {
			continue // most likely it has ended meanwhile
		}
		own.add(p, targets, wanted, boot.BootTime)
	}
	return own, nil
}

func (o *Ownership) add(p procfs.Proc, targets []string, wanted map[uint32]bool, boot uint64) {
	var owner Owner
	for _, target := range targets {
		inode, ok := socketInode(target)
		if !ok || !wanted[inode] {
			continue
		}
		if owner.PID == 0 {
			var err error
			if owner, err = describe(p, boot); err != nil {
				return
			}
		}
		if first, ok := o.ByInode[inode]; !ok || owner.Start.Before(first.Start) {
			o.ByInode[inode] = owner
		}
	}
}

func describe(p procfs.Proc, boot uint64) (Owner, error) {
	stat, err := p.Stat()
	if err != nil {
		return Owner{}, err
	}
	// starttime is in clock ticks since boot, of USER_HZ (proc_pid_stat(5)).
	start := time.Unix(int64(boot), 0).Add(time.Duration(stat.Starttime) * userTick)
	cmdline, err := p.CmdLine()
	if err != nil {
		return Owner{}, err
	}
	return Owner{PID: p.PID, Name: stat.Comm, Start: start.UTC(), Cmdline: cmdline}, nil
}

// socketInode reads the target of a link in /proc/PID/fd: "socket:[18485]".
func socketInode(target string) (uint32, bool) {
	digits, ok := strings.CutPrefix(target, "socket:[")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 32)
	return uint32(n), err == nil
}
