package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// bin holds the binaries under test. A process whose executable lies in it was
// started by these tests.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "halfopen-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if bin, err = filepath.EvalSymlinks(dir); err != nil { // /proc/PID/exe has none
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

var (
	filebeat = sync.OnceValues(func() (string, error) { return build(".", "./filebeat") })
	halfopen = sync.OnceValues(func() (string, error) { return build("..", "./cmd/halfopen") })
)

// build compiles pkg of the module in dir. Go's build cache makes every run but
// the first a matter of seconds. No version control stamp: git refuses to serve
// root in a checkout that belongs to somebody else.
func build(dir, pkg string) (string, error) {
	path := filepath.Join(bin, filepath.Base(pkg))
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, pkg)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s in %q: %w\n%s", pkg, dir, err, out)
	}
	return path, nil
}

// binary is what a build gave, or the end of the test.
func binary(t *testing.T, build func() (string, error)) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// await polls until cond holds and fails the test after a minute.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute: %s", what)
		}
	}
}
