package discover

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"halfopen/sockstate"
)

const nobody = 65534

// public copies a program to where any user may run it.
func public(t *testing.T, from, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "halfopen-public")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// An ordinary user finds his own shipper whole, of root's what is public, and is
// told what is missing. Connections without a visible owner are not dropped.
func TestWithoutRights(t *testing.T) {
	ns := host(t)
	startParty(t, ns, party(t, "collector"), []string{"collector"}, "PARTY_LISTEN=127.0.0.1:5044")
	roots := startParty(t, ns, party(t, "filebeat"), []string{"filebeat"}, "PARTY_CONNECT=127.0.0.1:5044")
	exe := public(t, party(t, "filebeat"), "filebeat")
	user := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	own := startCmd(t, ns, &exec.Cmd{Path: exe, Args: []string{exe}, Dir: "/", Env: append(os.Environ(), "PARTY_CONNECT=127.0.0.1:5044"), SysProcAttr: user})

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(public(t, self, "discover.test"))
	cmd.Env, cmd.Dir = append(os.Environ(), asUser+"=1"), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Programs []Program
		Error    string
	}
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil || got.Error != "<nil>" {
		t.Fatalf("%s: %v", out.String(), err)
	}
	byPID := func(pid int) Program {
		i := slices.IndexFunc(got.Programs, func(p Program) bool { return p.PID == pid })
		if i < 0 {
			t.Fatalf("process %d is not among %s", pid, out.String())
		}
		return got.Programs[i]
	}
	if p := byPID(own); len(p.Connections) != 1 || p.NetNS == 0 {
		t.Errorf("own: %+v", p)
	}
	if p := byPID(roots); p.Kind != Filebeat || len(p.Connections) != 0 || !strings.Contains(strings.Join(p.Missing, ";"), "open files and sockets are not known (root") {
		t.Errorf("root's: %+v", p)
	}
	// Root's connection, and at the other end the receiver's. Elsewhere on this host others may ship.
	inode, err := ns.Inode()
	if err != nil {
		t.Fatal(err)
	}
	hidden := slices.DeleteFunc(slices.Clone(got.Programs), func(p Program) bool { return p.PID != 0 || p.NetNS != inode })
	var shipped, received int
	for _, p := range hidden {
		for _, s := range p.Connections {
			if s.State == sockstate.Established && p.Role == Shipper {
				shipped++
			} else if s.State == sockstate.Established {
				received++
			}
		}
		if len(p.Missing) == 0 {
			t.Errorf("nothing is said to be missing: %+v", p)
		}
	}
	if shipped != 1 || received != 2 {
		t.Errorf("%d connections shipped, %d received by processes out of sight, want 1 and 2: %s", shipped, received, out.String())
	}
	if last := byPID(own).Missing; !strings.Contains(strings.Join(last, ";"), "processes of other users") {
		t.Errorf("missing %q", last)
	}
}
