package fault

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"halfopen/flow"
	"halfopen/middlebox"
	"halfopen/netns"
)

// childNS names the namespace to a child process that only makes faults there,
// with its notes in the folder that childLedger names.
const (
	childNS     = "HALFOPEN_TEST_FAULT_NETNS"
	childLedger = "HALFOPEN_TEST_FAULT_LEDGER"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childNS); path != "" {
		fmt.Println("error:", makeFaults(path, &Ledger{[]string{os.Getenv(childLedger)}}))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// makeFaults makes one fault after the other, by every method. It tells each step
// and waits for a byte before the next, until it is killed or fails.
func makeFaults(path string, ledger *Ledger) error {
	ns, err := netns.Open(path)
	if err != nil {
		return err
	}
	conntrack, err := middlebox.OpenConntrack(ns, ports)
	if err != nil {
		return err
	}
	old := []flow.Flow{{Local: clientEnd, Remote: serverEnd}}
	for {
		for _, m := range Methods() {
			cfg := Config{NS: ns, Method: m, Ports: ports, Conntrack: conntrack, Ledger: ledger}
			if m.Name == Link.Name {
				cfg.Interface = "out"
			}
			if m.Name == Idle.Name {
				cfg.Idle = 7 * time.Second
			}
			f, err := Open(cfg)
			if err != nil {
				return err
			}
			todo := []func() (Step, error){f.Cut, func() (Step, error) { return f.Hold(old) }}
			if m.Proxied() {
				todo = slices.Insert(todo, 0, f.Redirect)
			}
			for _, do := range todo {
				step, err := do()
				if err != nil {
					return err
				}
				fmt.Println(m.Name, step.Name)
				if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
					return err
				}
			}
			if err := f.Undo(); err != nil {
				return err
			}
		}
	}
}

// A fault never outlives its process, whatever the method and the step it is
// killed at. What the kernel keeps is swept.
func TestKilledProcessLeavesNothing(t *testing.T) {
	p := newPath(t)
	foreign, was := p.foreign(), sysctl(t, p.router)
	ledger := ledgerAt(t, t.TempDir())
	c := p.dial()
	held, swept := 0, 0
	for i := range 50 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=/proc/%d/fd/%d", childNS, os.Getpid(), p.router.FD()), childLedger+"="+ledger.dirs[0])
		out, err := cmd.StdoutPipe()
		p.must(err)
		stdin, err := cmd.StdinPipe()
		p.must(err)
		p.must(cmd.Start())
		lines := bufio.NewScanner(out)
		want := steps()
		for n := range i/2%len(want) + 1 { // of two, one is killed after its step
			if !lines.Scan() || lines.Text() != want[n] {
				t.Fatalf("child %d says %q, want %q", i, lines.Text(), want[n])
			}
			if n < i/2%len(want) || i%2 == 1 { // and one in the middle of the next
				stdin.Write([]byte("\n"))
			}
		}
		if i%2 == 0 && len(p.tables()) > 1 {
			held++
		}
		p.must(cmd.Process.Kill())
		cmd.Wait()
		if got := p.tables(); !slices.Equal(got, []string{"nat"}) {
			t.Fatalf("tables %v after kill -9 number %d", got, i+1)
		}
		left, err := ledger.Sweep()
		swept += len(left)
		if files := ledger.files(t); err != nil || len(files) > 0 || sysctl(t, p.router) != was {
			t.Fatalf("after kill -9 number %d: swept %v, %v; files %v, the timeout is %s", i+1, left, err, files, sysctl(t, p.router))
		}
		p.dial() // new connections pass
	}
	if held != 25 || swept == 0 { // one method sets one, and has it while it waits in one of its two steps
		t.Errorf("of 25 children that waited %d held a table; %d of all left a sysctl", held, swept)
	}
	if got := p.foreign(); got != foreign {
		t.Errorf("foreign rules were\n%s and are\n%s", foreign, got)
	}
	if i := info(t, c.client); i.State != established {
		t.Errorf("state %d of a connection over which nothing flowed", i.State)
	}
}

// steps are what a child says in its first turn.
func steps() (list []string) {
	for _, m := range Methods() {
		if m.Proxied() {
			list = append(list, m.Name+" "+StepProxy)
		}
		list = append(list, m.Name+" "+m.first, m.Name+" "+m.second())
	}
	return list
}
