package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"github.com/spf13/pflag"

	"halfopen/container"
	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
)

// portFlag is --port: it repeats, and takes the kernel's spelling too.
type portFlag struct{ ports flow.Ports }

func (p *portFlag) Set(s string) error {
	port, err := flow.ParsePort(s)
	if err == nil {
		p.ports = flow.NewPorts(append(p.ports, port)...)
	}
	return err
}

func (p *portFlag) Type() string { return "port" }

func (p *portFlag) String() string { return fmt.Sprint([]uint16(p.set())) }

// asked is the ports that were asked for, nil if none.
func (p *portFlag) asked() flow.Ports { return p.ports }

// set is the ports that were asked for, 5044 if none.
func (p *portFlag) set() flow.Ports {
	if len(p.ports) == 0 {
		return flow.NewPorts(shipPort)
	}
	return p.ports
}

// hint speaks up for a port that is one hexadecimal digit off.
func (p *portFlag) hint(out io.Writer) {
	for _, port := range p.ports {
		if near, ok := flow.NearMiss(port); ok && !p.ports.Has(near) {
			fmt.Fprintf(out, "halfopen: port %d is %s in the kernel's spelling, one digit from %s, which is %d: is that the one you mean?\n",
				port, flow.Hex(port), flow.Hex(near), near)
		}
	}
}

// pidFlag is --pid, 0 where it is not given.
type pidFlag int

func (p *pidFlag) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		return errors.New("want a process id, 1 or more")
	}
	*p = pidFlag(n)
	return nil
}

func (p *pidFlag) Type() string { return "pid" }

func (p *pidFlag) String() string {
	if *p == 0 {
		return ""
	}
	return strconv.Itoa(int(*p))
}

// placeFlags name the network namespace to look into; none of them is the
// caller's own.
type placeFlags struct {
	netns     string
	pid       int
	container string
}

func (p *placeFlags) add(f *pflag.FlagSet) {
	f.StringVar(&p.netns, "netns", "", "look into this network namespace: a path such as /run/netns/NAME")
	f.Var((*pidFlag)(&p.pid), "pid", "look into the network namespace of this process")
	f.StringVar(&p.container, "container", "", "look into the network namespace of this container, by name or id")
}

// view is a place that is looked into.
type view struct {
	name string
	root string    // /proc folder that shows its tables
	ns   *netns.NS // nil where it could not be entered
}

func (p placeFlags) open(ctx context.Context, warn io.Writer) (*view, error) {
	v, path, err := p.find(ctx)
	if err != nil {
		return nil, err
	}
	v.ns, err = netns.Open(path)
	switch {
	case err == nil:
		v.root = v.ns.ProcRoot()
	case errors.Is(err, os.ErrPermission) && v.root != "":
		// The tables of a process of one's own can be read from outside.
		fmt.Fprintf(warn, "halfopen: %v; reading %s/net/tcp instead, without tcp_info\n", notEntered(err), v.root)
	default:
		return nil, notEntered(err)
	}
	return v, nil
}

// notEntered adds to the error of netns.Open what to do.
func notEntered(err error) error {
	switch {
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("%w: it is no network namespace", err)
	case !errors.Is(err, os.ErrPermission):
		return err
	case os.Geteuid() == 0:
		return fmt.Errorf("%w: that takes CAP_SYS_ADMIN and CAP_SYS_PTRACE, and all rights that the process in there has", err)
	}
	return fmt.Errorf("%w: that takes CAP_SYS_ADMIN and CAP_SYS_PTRACE: run as root", err)
}

func (p placeFlags) find(ctx context.Context) (v *view, path string, err error) {
	given := 0
	for _, set := range []bool{p.netns != "", p.pid != 0, p.container != ""} {
		if set {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, "", usage("--netns, --pid and --container each name the place: give one")
	case p.netns != "":
		return &view{name: "network namespace " + p.netns}, p.netns, nil
	case p.pid != 0:
		root := fmt.Sprintf("/proc/%d", p.pid)
		if _, err := os.Stat(root); err != nil {
			return nil, "", fmt.Errorf("there is no process %d", p.pid)
		}
		return &view{name: fmt.Sprintf("network namespace of process %d", p.pid), root: root}, root + "/ns/net", nil
	case p.container != "":
		c, err := container.Find(ctx, p.container)
		if err != nil {
			return nil, "", err
		}
		if !c.Running {
			return nil, "", fmt.Errorf("container %q does not run", p.container)
		}
		return &view{name: fmt.Sprintf("container %s (process %d)", c.Name, c.PID), root: fmt.Sprintf("/proc/%d", c.PID)}, c.NetNS, nil
	}
	return &view{name: "this network namespace"}, "", nil
}

func (v *view) entered() bool { return v.ns != nil }

func (v *view) close() {
	if v.ns != nil {
		v.ns.Close()
	}
}

// sockets reads by inet_diag, and from /proc where that can't be had.
func (v *view) sockets(ports flow.Ports) (socks []sockstate.Socket, via string, err error) {
	if v.entered() {
		diag, err := sockstate.OpenDiag(v.ns, ports)
		if err == nil {
			defer diag.Close()
			if socks, err = diag.Dump(); err == nil {
				return socks, "diag", nil
			}
		}
	}
	socks, _, err = sockstate.ReadProc(v.root, ports)
	return socks, "procfs", err
}
