package discover

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"halfopen/netns"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

// asUser in the environment makes this test binary print what Find finds, for a
// test of what another user sees.
const asUser = "DISCOVER_AS_USER"

func TestMain(m *testing.M) {
	if os.Getenv(asUser) != "" {
		all, err := Find(context.Background(), Options{})
		json.NewEncoder(os.Stdout).Encode(map[string]any{"programs": all, "error": fmt.Sprint(err)})
		os.Exit(0)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(built.dir)
		os.Exit(code)
	}))
}

// party gives a copy of the program that plays the parties, under a name.
func party(t *testing.T, name string) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "halfopen-party"); built.err == nil {
			cmd := exec.Command("go", "build", "-o", filepath.Join(built.dir, "party"), "./testdata/party")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			var out []byte
			if out, built.err = cmd.CombinedOutput(); built.err != nil {
				built.err = fmt.Errorf("%w\n%s", built.err, out)
			}
		}
	})
	if built.err != nil {
		t.Fatalf("build the party: %v", built.err)
	}
	path := filepath.Join(t.TempDir(), name)
	program, err := os.ReadFile(filepath.Join(built.dir, "party"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// host is a network namespace with its loopback up.
func host(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace (needs root): %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	if err := ns.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	}); err != nil {
		t.Fatal(err)
	}
	return ns
}

// startParty starts exe with argv (argv[0] included) in the namespace, waits until
// it is ready, and ends it with the test. env is what the party does.
func startParty(t *testing.T, ns *netns.NS, exe string, argv []string, env ...string) int {
	t.Helper()
	return startCmd(t, ns, &exec.Cmd{Path: exe, Args: argv, Env: append(os.Environ(), env...)})
}

func startCmd(t *testing.T, ns *netns.NS, cmd *exec.Cmd) int {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGKILL)
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil && err != io.EOF || line != "ready\n" {
		t.Fatalf("the party said %q, %v", line, err)
	}
	return cmd.Process.Pid
}

// discovered gives the program with the pid.
func discovered(t *testing.T, o Options, pid int) Program {
	t.Helper()
	all, err := Find(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(p Program) bool { return p.PID == pid })
	if i < 0 {
		t.Fatalf("process %d is not among %+v", pid, all)
	}
	return all[i]
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func because(t *testing.T, p Program, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !slices.ContainsFunc(p.Why, func(s string) bool { return strings.Contains(s, part) }) {
			t.Errorf("no reason says %q: %q", part, p.Why)
		}
	}
}
