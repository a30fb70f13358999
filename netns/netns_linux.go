// Package netns runs work, and starts processes, inside a network namespace
// without leaving any other part of the program in the wrong one.
//
// A namespace belongs to a thread, Go's goroutines wander between threads; so
// each NS owns one thread that never leaves it, and work goes to that thread or
// to a fresh one that dies with the work (setns(2), unshare(2)).
package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// init pins the main goroutine to the main thread. Otherwise a namespace
// goroutine may end on the main thread, which the runtime can't terminate:
// /proc/self would then show that namespace for the rest of the program's life.
func init() { runtime.LockOSThread() }

// NS is a network namespace, held open by a descriptor and by a thread of this
// process: one made by New is gone, with all its links, rules and sockets, when
// the process is, however it ends.
type NS struct {
	file   *os.File
	tid    int
	calls  chan func()
	closed chan struct{}
	ended  chan struct{} // closed as its thread ends
	once   sync.Once
}

// ErrClosed is returned by the methods of a closed NS.
var ErrClosed = errors.New("network namespace is closed")

// New makes an empty network namespace with its loopback still down. It needs
// CAP_SYS_ADMIN in the user namespace of the caller.
func New() (*NS, error) {
	return start(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		return nil
	})
}

// Open enters the namespace at path: /run/netns/NAME, /proc/PID/ns/net. The
// empty path is the caller's own namespace, which needs no rights; another
// needs CAP_SYS_ADMIN.
func Open(path string) (*NS, error) {
	if path == "" {
		path = own
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // not to wait for a FIFO's writer
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	defer f.Close()
	home, err := isHome(f)
	if err != nil {
		return nil, err
	}
	if home {
		return start(func() error { return nil })
	}
	return start(func() error { return enter(f, path) })
}

// own is the namespace of the process: of its main thread, which never leaves it.
const own = "/proc/self/ns/net"

// isHome reports whether f is the namespace that threads of this process are in
// anyway: setns(2) would ask for CAP_SYS_ADMIN even so.
func isHome(f *os.File) (bool, error) {
	its, err := f.Stat()
	if err != nil {
		return false, fmt.Errorf("look at network namespace: %w", err)
	}
	ours, err := os.Stat(own)
	if err != nil {
		return false, fmt.Errorf("look at network namespace: %w", err)
	}
	return os.SameFile(its, ours), nil
}

// enter moves the calling thread. Control keeps the descriptor from being closed,
// and its number from being used again, meanwhile.
func enter(f *os.File, path string) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := raw.Control(func(fd uintptr) { serr = unix.Setns(int(fd), unix.CLONE_NEWNET) }); err != nil {
		return err
	}
	if serr != nil {
		return fmt.Errorf("enter network namespace %q: %w", path, serr)
	}
	return nil
}

// start runs the thread that stays: setup puts it into its namespace.
func start(setup func() error) (*NS, error) {
	ns := &NS{calls: make(chan func()), closed: make(chan struct{}), ended: make(chan struct{})}
	ready := make(chan error)
	go func() {
		defer close(ns.ended)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns.tid = unix.Gettid()
		err := setup()
		if err == nil {
			ns.file, err = os.Open("/proc/thread-self/ns/net")
		}
		ready <- err
		if err != nil {
			return
		}
		for {
			select {
			case call := <-ns.calls:
				call()
			case <-ns.closed:
				return
			}
		}
	}()
	if err := <-ready; err != nil {
		return nil, err
	}
	return ns, nil
}

// FD is a descriptor of the namespace, valid until Close.
func (n *NS) FD() int { return int(n.file.Fd()) }

// ProcRoot is the /proc folder of a thread inside the namespace, valid until
// Close; ProcRoot()+"/net/tcp" is the namespace's socket table.
func (n *NS) ProcRoot() string { return fmt.Sprintf("/proc/self/task/%d", n.tid) }

// Inode identifies the namespace on this host (nsfs inode, as in
// readlink /proc/PID/ns/net).
func (n *NS) Inode() (uint64, error) {
	st, err := n.file.Stat()
	if err != nil {
		return 0, err
	}
	return st.Sys().(*syscall.Stat_t).Ino, nil
}

// Do runs fn on a fresh thread inside the namespace and returns its error.
// Sockets that fn makes belong to the namespace for good; fn must make them
// itself, not in goroutines of its own. Calls may overlap.
func (n *NS) Do(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked, as above
		if err := n.enter(); err != nil {
			select {
			case <-n.closed:
				err = ErrClosed
			default:
			}
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

func (n *NS) enter() error {
	if home, err := isHome(n.file); err == nil && home {
		return nil
	}
	return enter(n.file, n.file.Name())
}

// Start starts cmd inside the namespace. The process is killed when this one
// dies, even by SIGKILL: the thread that starts it lives as long as the NS
// (PR_SET_PDEATHSIG, prctl(2), follows the thread, not the process).
func (n *NS) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started := make(chan error, 1)
	select {
	case n.calls <- func() { started <- cmd.Start() }:
		return <-started
	case <-n.closed:
		return ErrClosed
	}
}

// Close lets go of the namespace and ends its thread, and with it the processes
// that Start started.
func (n *NS) Close() error {
	err := ErrClosed
	n.once.Do(func() {
		close(n.closed)
		<-n.ended
		err = n.file.Close()
	})
	return err
}
