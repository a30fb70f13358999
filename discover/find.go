package discover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/prometheus/procfs"

	"halfopen/container"
	"halfopen/sockstate"
)

// ErrHidden is wrapped when nothing was found among the processes that can be
// seen, and there are others.
var ErrHidden = errors.New("not every process can be looked into")

// needs names the rights that reading other users' processes takes.
const needs = "root, or CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"

// finder is one run of Find.
type finder struct {
	Options
	tables     map[uint64][]sockstate.Socket // by namespace
	containers map[string]*container.Container
	hidden     int // processes whose sockets can't be told
}

// process is what was read of one process.
type process struct {
	Program
	proc    procfs.Proc
	parent  int
	named   bool     // in Options.PIDs
	exe     string   // path, as it sees it; "" where it can't be read
	raw     []string // arguments with secrets
	targets map[uintptr]string
	fdErr   error
	root    root
}

func (f *finder) find(ctx context.Context) ([]Program, error) {
	pfs, err := procfs.NewFS(f.ProcRoot)
	if err != nil {
		return nil, fmt.Errorf("find log shippers: %w", err)
	}
	procs, err := pfs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("find log shippers: %w", err)
	}
	seats := map[uint64]int{} // a process of each namespace
	var known []*process
	for _, p := range procs {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("find log shippers: %w", err)
		}
		netns := f.netns(p.PID)
		if _, ok := seats[netns]; !ok && netns != 0 {
			seats[netns] = p.PID
		}
		if k := f.recognise(p, netns); k != nil {
			known = append(known, k)
		}
	}
	known = withoutSupervisors(known)
	for _, k := range known {
		f.describe(ctx, k)
	}
	others, err := f.strangers(ctx, pfs, seats, known)
	if err != nil {
		return nil, fmt.Errorf("find log shippers: %w", err)
	}
	var out []Program
	for _, k := range slices.Concat(known, others) {
		if f.hidden > 0 {
			k.miss("%d processes of other users can't be looked into for connections to watched ports (%s)", f.hidden, needs)
		}
		out = append(out, k.Program)
	}
	if len(out) == 0 && f.hidden > 0 {
		return nil, fmt.Errorf("find log shippers: none among the processes that can be seen; %w: %d are other users' (%s)", ErrHidden, f.hidden, needs)
	}
	slices.SortStableFunc(out, rank)
	return out, nil
}

// rank puts shippers first, those with connections before others, known kinds
// before unknown ones.
func rank(a, b Program) int {
	worst := func(p Program) int {
		n := 0
		if p.Role != Shipper {
			n += 4
		}
		if len(p.Connections) == 0 {
			n += 2
		}
		if p.Kind == Unknown {
			n++
		}
		return n
	}
	return cmp.Or(cmp.Compare(worst(a), worst(b)), cmp.Compare(a.PID, b.PID))
}

// recognise returns nil for a program of no known kind that was not named, and
// for a process that has ended.
func (f *finder) recognise(p procfs.Proc, netns uint64) *process {
	args, err := p.CmdLine()
	if err != nil || len(args) == 0 {
		return nil // a kernel thread, or gone
	}
	exe, _ := p.Executable() // needs rights; the arguments will do
	kind, why := recognise(exe, args)
	named := slices.Contains(f.PIDs, p.PID)
	if kind == "" && !named {
		return nil
	}
	k := f.meet(p, netns)
	if k == nil {
		return nil
	}
	k.Kind, k.named, k.exe = cmp.Or(kind, Unknown), named, exe
	k.say("%s", cmp.Or(why, fmt.Sprintf("process %d was named", p.PID)))
	return k
}

// meet reads what any process tells.
func (f *finder) meet(p procfs.Proc, netns uint64) *process {
	stat, err := p.Stat()
	if err != nil || stat.State == "Z" || stat.State == "X" {
		return nil
	}
	args, err := p.CmdLine()
	if err != nil {
		return nil
	}
	k := &process{proc: p, parent: stat.PPID, raw: args, root: openRoot(f.ProcRoot, p.PID), Program: Program{
		PID: p.PID, StartTime: stat.Starttime, Name: stat.Comm, Cmdline: Redact(args), NetNS: netns,
	}}
	if netns == 0 {
		k.miss("its network namespace is not known (%s)", needs)
	}
	if netns != 0 {
		// First: what is in the table and is this process's is then among its descriptors,
		// though it connects meanwhile. connect tells of the error.
		_, _ = f.table(p.PID, netns, nil)
	}
	k.targets, k.fdErr = f.descriptors(p)
	if errors.Is(k.fdErr, fs.ErrPermission) {
		k.miss("its open files and sockets are not known (%s)", needs)
	}
	return k
}

func (f *finder) descriptors(p procfs.Proc) (map[uintptr]string, error) {
	fds, err := p.FileDescriptors()
	if err != nil {
		return nil, err
	}
	out := map[uintptr]string{}
	for _, fd := range fds {
		if target, err := os.Readlink(f.path(p.PID, "fd", strconv.Itoa(int(fd)))); err == nil {
			out[fd] = target
		}
	}
	return out, nil
}

func (f *finder) path(pid int, elem ...string) string {
	return filepath.Join(append([]string{f.ProcRoot, strconv.Itoa(pid)}, elem...)...)
}

// netns is 0 where the namespace can't be read.
func (f *finder) netns(pid int) uint64 {
	target, err := os.Readlink(f.path(pid, "ns", "net"))
	if err != nil {
		return 0
	}
	var inode uint64
	if _, err := fmt.Sscanf(target, "net:[%d]", &inode); err != nil {
		return 0
	}
	return inode
}

// withoutSupervisors leaves out a process whose child is of the same kind: the
// child does the work (Fluentd's worker, a Filebeat that re-executed itself).
func withoutSupervisors(known []*process) []*process {
	supervisor := map[int]bool{}
	for _, k := range known {
		i := slices.IndexFunc(known, func(p *process) bool { return p.PID == k.parent && p.Kind == k.Kind && !p.named })
		if i >= 0 {
			supervisor[k.parent] = true
			k.say("process %d, of the same kind, is its supervisor", k.parent)
		}
	}
	return slices.DeleteFunc(known, func(p *process) bool { return supervisor[p.PID] })
}

// describe finds what belongs to a program that was recognised.
func (f *finder) describe(ctx context.Context, k *process) {
	set := f.configure(k)
	f.connect(k, set)
	f.place(ctx, k)
	f.logs(k, set)
	f.endpoints(k, set) // after the logs, which may carry the counters
}

// place finds the container of a process, if it is in one.
func (f *finder) place(ctx context.Context, k *process) {
	host := container.Host{Proc: f.ProcRoot}
	id, engine, ok := host.OfPID(k.PID)
	if !ok {
		return
	}
	k.say("its cgroup is that of container %.12s", id)
	if c, ok := f.containers[id]; ok {
		k.Container = c
		return
	}
	c, err := host.Find(ctx, id)
	if err != nil {
		c = container.Container{ID: id, Engine: engine, Running: true}
		k.miss("nothing more is known of its container: %v", err)
	}
	k.Container, f.containers[id] = &c, &c
}

func (p *Program) say(format string, args ...any) {
	p.Why = append(p.Why, fmt.Sprintf(format, args...))
}
func (p *Program) miss(format string, args ...any) {
	p.Missing = append(p.Missing, fmt.Sprintf(format, args...))
}
