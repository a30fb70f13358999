package netns

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func fresh(t *testing.T) *NS {
	t.Helper()
	ns, err := New()
	if err != nil {
		t.Fatalf("make a namespace (needs root): %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

func link(t *testing.T, path string) string {
	t.Helper()
	s, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Work happens inside, and nothing else of the program ends up there: not the
// main thread, which /proc/self shows, not a thread that is used again.
func TestDoStaysInside(t *testing.T) {
	home := link(t, "/proc/self/ns/net")
	ns := fresh(t)
	for range 50 {
		err := ns.Do(func() error {
			if in := link(t, "/proc/thread-self/ns/net"); in == home {
				return errors.New("work ran in the caller's namespace")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if now := link(t, "/proc/self/ns/net"); now != home {
		t.Errorf("the process moved from %s to %s", home, now)
	}
	for range 50 {
		done := make(chan string)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			done <- link(t, "/proc/thread-self/ns/net")
		}()
		if now := <-done; now != home {
			t.Fatalf("a thread was left in %s", now)
		}
	}
}

// The socket table under ProcRoot is the namespace's own.
func TestProcRoot(t *testing.T) {
	ns := fresh(t)
	if in := link(t, ns.ProcRoot()+"/ns/net"); in == link(t, "/proc/self/ns/net") {
		t.Error("ProcRoot shows the caller's namespace")
	}
	table, err := os.ReadFile(ns.ProcRoot() + "/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(table), "\n"); lines != 1 {
		t.Errorf("the table of an empty namespace has %d lines:\n%s", lines, table)
	}
	inode, err := ns.Inode()
	if err != nil || inode == 0 {
		t.Errorf("inode %d, %v", inode, err)
	}
}

// A process that Start started dies when the namespace is let go, as it does
// when this process dies.
func TestStartedProcessDies(t *testing.T) {
	ns := fresh(t)
	cmd := exec.Command("/bin/sh", "-c", "readlink /proc/self/ns/net; exec sleep 600")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 64)
	n, err := out.Read(said)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(string(said[:n])), link(t, ns.ProcRoot()+"/ns/net"); got != want {
		t.Errorf("the process runs in %s, want %s", got, want)
	}
	ns.Close()
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the process ended with %v, want SIGKILL", err)
	}
}

func TestClosed(t *testing.T) {
	ns := fresh(t)
	if err := ns.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ns.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if err := ns.Start(exec.Command("true")); !errors.Is(err, ErrClosed) {
		t.Errorf("Start: %v", err)
	}
	if err := ns.Do(func() error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Do: %v", err)
	}
}

// A namespace is opened by path; a wrong path is told.
func TestOpen(t *testing.T) {
	ns := fresh(t)
	again, err := Open(ns.ProcRoot() + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	a, _ := ns.Inode()
	b, _ := again.Inode()
	if a != b {
		t.Errorf("opened namespace %d, want %d", b, a)
	}
	own, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if link(t, own.ProcRoot()+"/ns/net") != link(t, "/proc/self/ns/net") {
		t.Error("the empty path is not the caller's namespace")
	}
	if _, err := Open("/nowhere"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing path: %v", err)
	}
	file := filepath.Join(t.TempDir(), "no-namespace")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), file) {
		t.Errorf("a file that is no namespace: %v", err)
	}
}

// Sockets made inside belong to the namespace for good.
func TestListenInside(t *testing.T) {
	ns := fresh(t)
	var l net.Listener
	err := ns.Do(func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:5044")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	table, err := os.ReadFile(ns.ProcRoot() + "/net/tcp")
	if err != nil || !strings.Contains(string(table), ":13B4 00000000:0000 0A") {
		t.Errorf("no listener on 13B4 in\n%s%v", table, err)
	}
}

// A setting is that of the namespace, and of no other.
func TestSysctl(t *testing.T) {
	const key = "net.ipv4.ip_forward"
	one, other := fresh(t), fresh(t)
	was, err := other.Sysctl(key) // a new one has what the first namespace has
	if err != nil {
		t.Fatal(err)
	}
	for value, text := range map[string]string{"1": "1", "0": "0\n"} {
		if err := one.SetSysctl(key, text); err != nil {
			t.Fatal(err)
		}
		if got, err := one.Sysctl(key); err != nil || got != value {
			t.Errorf("%q, %v; want %q", got, err, value)
		}
		if got, err := other.Sysctl(key); err != nil || got != was {
			t.Errorf("in another namespace: %q, %v; want %q", got, err, was)
		}
	}
	if _, err := one.Sysctl("net.ipv4.no_such_thing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want os.ErrNotExist", err)
	}
	if err := one.SetSysctl(key, "many"); err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("%v, want an error that names %s", err, key)
	}
}
