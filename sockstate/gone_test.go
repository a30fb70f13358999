package sockstate

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"testing"

	"halfopen/flow"
	"halfopen/netns"
)

// holder starts a process that keeps connections to testPort, both ends.
func holder(t *testing.T, ns *netns.NS, count int) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=127.0.0.1:%d %d", holdEnv, testPort, count))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := fmt.Fscanln(out, new(string)); err != nil {
		t.Fatalf("wait for the holder: %v", err)
	}
	return cmd
}

// afterOne calls then between the first read and the second.
type afterOne struct {
	r     io.Reader
	reads int
	then  func()
}

func (a *afterOne) Read(b []byte) (int, error) {
	if a.reads++; a.reads == 2 {
		a.then()
	}
	return a.r.Read(b)
}

// The process that a namespace is read through, and the namespace's last handle,
// may go in the middle of a reading.
func TestNamespaceGone(t *testing.T) {
	ns := private(t)
	process := holder(t, ns, 1000)
	root := fmt.Sprintf("/proc/%d", process.Process.Pid)
	ports := flow.NewPorts(testPort)
	if socks, bad, err := ReadProc(root, ports); len(socks) != 2001 || len(bad) > 0 || err != nil {
		t.Fatalf("%d sockets, bad lines %v, error %v", len(socks), bad, err)
	}
	d := openDiag(t, ns, testPort)
	s := one(t, d, Established, testPort)
	notices, stop := follow(t, watch(t, ns, testPort))

	f, err := os.Open(root + "/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := &afterOne{r: f, then: func() {
		if err := errors.Join(process.Process.Kill(), ns.Close()); err != nil {
			t.Error(err)
		}
		process.Wait()
	}}
	socks, bad, err := ParseProc(text, ports.Match, nil)
	if len(socks) == 0 || len(bad) > 0 || err != nil || text.reads < 2 {
		t.Errorf("gone in the middle: %d sockets, bad lines %v, error %v, %d reads", len(socks), bad, err, text.reads)
	}
	if _, _, err := ReadProc(root, ports); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("afterwards: %v", err)
	}

	// Its netlink sockets keep the namespace, in which nothing is left.
	await(t, func() error {
		if err := d.Lookup(&s); !errors.Is(err, ErrGone) {
			return fmt.Errorf("looked up %+v: %v", s, err)
		}
		return nil
	})
	for _, s := range dump(t, d) {
		if s.Inode != 0 {
			t.Errorf("still held: %+v", s)
		}
	}
	if n := next(t, notices); n.Socket.State != Close {
		t.Errorf("notice %+v", n)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	d.conn.Close()
	for range 2 { // the second time there is nothing to dial from any more
		if _, err := d.Dump(); err == nil {
			t.Error("a dump in a namespace that can't be entered")
		}
	}
	if _, err := OpenDiag(ns, ports); !errors.Is(err, netns.ErrClosed) {
		t.Errorf("opened in a closed namespace: %v", err)
	}
}
