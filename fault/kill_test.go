package fault

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/netns"
)

// childNS names the namespace to a child process that only makes faults there.
const childNS = "HALFOPEN_TEST_FAULT_NETNS"

func TestMain(m *testing.M) {
	if path := os.Getenv(childNS); path != "" {
		fmt.Println("error:", makeFaults(path))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// makeFaults makes one fault after the other and tells each step, until it is
// killed or fails.
func makeFaults(path string) error {
	ns, err := netns.Open(path)
	if err != nil {
		return err
	}
	ports := flow.NewPorts(port)
	conntrack, err := middlebox.OpenConntrack(ns, ports)
	if err != nil {
		return err
	}
	for {
		f, err := Open(Config{NS: ns, Ports: ports, Conntrack: conntrack})
		if err != nil {
			return err
		}
		for _, do := range []func() (Step, error){f.DropBoth, f.Forget} {
			step, err := do()
			if err != nil {
				return err
			}
			fmt.Println(step.Name)
		}
		if err := f.Undo(); err != nil {
			return err
		}
	}
}

// A fault never outlives its process, whatever step it is killed at.
func TestKilledProcessLeavesNothing(t *testing.T) {
	p := newPath(t)
	foreign := p.foreign()
	held := 0
	for i := range 50 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=/proc/%d/fd/%d", childNS, os.Getpid(), p.router.FD()))
		out, err := cmd.StdoutPipe()
		p.must(err)
		p.must(cmd.Start())
		lines := bufio.NewScanner(out)
		for range i%7 + 1 { // another step for each; it goes on meanwhile
			if !lines.Scan() || lines.Text() != StepDrop && lines.Text() != StepForget {
				t.Errorf("child %d says %q", i, lines.Text())
			}
		}
		if len(p.tables()) > 1 {
			held++
		}
		p.must(cmd.Process.Kill())
		cmd.Wait()
		if got := p.tables(); !slices.Equal(got, []string{"nat"}) {
			t.Fatalf("tables %v after kill -9 number %d", got, i+1)
		}
	}
	if held == 0 {
		t.Error("no child was killed while it held a fault")
	}
	t.Logf("%d of 50 held a table just before they were killed", held)
	if got := p.foreign(); got != foreign {
		t.Errorf("foreign rules were\n%s and are\n%s", foreign, got)
	}
	p.dial()
}
