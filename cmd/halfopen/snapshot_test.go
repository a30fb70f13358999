package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/netns"
)

// crowded is a namespace with a listener on 24224 whose application takes no
// connection: its accept queue of 2 is over its limit, and one peer has hung up.
func crowded(t *testing.T) (ns *netns.NS, path string) {
	t.Helper()
	ns = host(t)
	err := ns.Do(func() error {
		if err := listen(t, 24224, 2); err != nil {
			return err
		}
		for i := range 3 { // the kernel lets one more in than the backlog says
			c, err := net.Dial("tcp4", "127.0.0.1:24224")
			if err != nil {
				return err
			}
			if i == 0 {
				c.Close()
			} else {
				t.Cleanup(func() { c.Close() })
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ns, fmt.Sprintf("/proc/%d/task/%s/ns/net", os.Getpid(), ns.ProcRoot()[len("/proc/self/task/"):])
}

// listen listens with that backlog and takes nothing.
func listen(t *testing.T, port, backlog int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port}); err != nil {
		return err
	}
	return unix.Listen(fd, backlog)
}

func TestSnapshot(t *testing.T) {
	_, path := crowded(t)
	out, err := exec.Command(binary, "snapshot", "--evidence", t.TempDir(), "--port", "24224", "--netns", path, "--over", "1s", "--timeout", "1m").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"port 24224 (5EA0 in /proc/net/tcp)", "listener 0.0.0.0:24224: 3 of 2 wait to be accepted, FULL",
		"CLOSE_WAIT                  1", "ESTABLISHED                 2", "FIN_WAIT2                   1", "ListenOverflows", "somaxconn",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

func TestSnapshotJSON(t *testing.T) {
	_, path := crowded(t)
	out, err := exec.Command(binary, "snapshot", "--evidence", t.TempDir(), "--json", "--port", "0x5EA0", "--netns", path, "--over", "0s", "--timeout", "1m").Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var s struct {
		First *struct{}
		Last  struct {
			Time  time.Time
			Via   string
			Ports []struct {
				Hex       string `json:"port_hex"`
				Listeners []struct{ Waiting, Backlog int }
				Server    map[string]int
			}
		}
	}
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatal(err)
	}
	if s.First != nil || s.Last.Via != "diag" || s.Last.Ports[0].Hex != "5EA0" || s.Last.Ports[0].Server["CLOSE_WAIT"] != 1 || s.Last.Ports[0].Listeners[0].Waiting != 3 {
		t.Errorf("snapshot %+v", s)
	}
}
