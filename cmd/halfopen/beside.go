package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"halfopen/collect"
	"halfopen/discover"
	"halfopen/netns"
	"halfopen/timeline"
)

// beside is the command that record runs: the experimenter's own script.
type beside struct {
	args          []string
	before, after time.Duration
	exit          int // its exit code; 128 and the signal's number where a signal ended it
}

const besideHelp = `A command behind -- is run beside the recording, which begins before it (--before) and ends
after it (--after). It finds "halfopen mark" on its PATH, and these in its environment:
HALFOPEN_SOCKET, where mark reaches this recorder; HALFOPEN_EVIDENCE, the folder of the
recording; HALFOPEN_PREFIX, what the paths of its files begin with: a file of the command's
own that is named so becomes part of the evidence. Its output passes through and is kept as
evidence, its lines as those of any log. Its standard input is that of record, but empty where
that is a terminal. Ctrl-C goes to it first; a second one kills it. Whatever it leaves running
in its process group is ended after --after, or when record dies, by kill -9 as well. If its
exit code is not 0, it becomes that of record; otherwise the verdict decides. With --json its
output goes to stderr.`

func (b *beside) add(f *pflag.FlagSet) {
	f.DurationVar(&b.before, "before", 2*time.Second, "how long to record before the command starts")
	f.DurationVar(&b.after, "after", 5*time.Second, "how long to go on after the command has ended")
}

// take takes the command behind "--"; dash is where that stands, -1 for nowhere.
func (b *beside) take(args []string, dash int, lasts time.Duration) error {
	if dash != 0 && len(args) > 0 {
		return usage("unexpected argument %q: a command stands behind \"--\"", args[0])
	}
	if dash == 0 && len(args) == 0 {
		return usage("no command stands behind \"--\"")
	}
	for name, d := range map[string]time.Duration{"before": b.before, "after": b.after} {
		if d < 0 || d > 24*time.Hour {
			return usage("--%s %s: want 0s to 24h", name, d)
		}
	}
	if len(args) == 0 {
		return nil
	}
	if lasts != 0 {
		return usage("--for and a command each say how long to record: give one")
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		return fmt.Errorf("find the command: %w", err)
	}
	b.args = args
	return nil
}

// passOn makes the command's exit code that of record, unless it is 0.
func (b *beside) passOn(err error, stderr io.Writer) error {
	if b.exit == 0 {
		return err
	}
	var answer codeError
	if err != nil && !errors.As(err, &answer) {
		fmt.Fprintf(stderr, "halfopen: %v\n", err)
	}
	fmt.Fprintf(stderr, "halfopen: the command ended with exit code %d\n", b.exit)
	return codeError(b.exit)
}

// killAfter is how long the command may take to end when it is told to.
const killAfter = 10 * time.Second

// run is the script of the recording.
func (b *beside) run(ctx context.Context, rec *collect.Recorder, logs logPlan, socket string, stdout, stderr io.Writer) error {
	if err := wait(ctx, b.before); err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	ns, err := netns.Open("") // whose thread outlives the command: it dies with us
	if err != nil {
		return err
	}
	defer ns.Close()
	cmd := exec.Command(b.args[0], b.args[1:]...)
	cmd.Env = b.env(rec, socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if !term.IsTerminal(int(os.Stdin.Fd())) { // reading from there would stop a process group in the background
		cmd.Stdin = os.Stdin
	}
	passed, err := pass(cmd, rec, logs, stdout, stderr)
	if err != nil {
		return err
	}
	defer passed()
	note := func(format string, args ...any) {
		rec.Append(0, timeline.Body{Mark: &timeline.Mark{Text: fmt.Sprintf(format, args...)}})
	}
	began := time.Now()
	if err := ns.Start(cmd); err != nil {
		b.exit = exitError
		note("experiment did not start: %v", err)
		return fmt.Errorf("start the command: %w", err)
	}
	guard, err := startGuard(cmd.Process.Pid, socket)
	if err != nil {
		note("what the command leaves running is not ended: %v", err)
	}
	defer guard.end()
	note("experiment started: %s (process %d)", strings.Join(discover.Redact(b.args), " "), cmd.Process.Pid)
	b.exit = b.await(ctx, cmd, signals)
	note("experiment ended: %s, after %s", cmd.ProcessState, time.Since(began).Round(time.Millisecond))
	return wait(ctx, b.after)
}

// await waits for the command, and passes on what it is told: a signal first, and
// SIGKILL if it does not end, or at the second signal.
func (b *beside) await(ctx context.Context, cmd *exec.Cmd, signals <-chan os.Signal) (code int) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // cmd.ProcessState says how
	}()
	tell := func(s os.Signal) { _ = syscall.Kill(-cmd.Process.Pid, s.(syscall.Signal)) }
	var kill <-chan time.Time
	over := ctx.Done()
	for {
		select {
		case <-ended:
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			if status.Signaled() {
				return 128 + int(status.Signal())
			}
			return status.ExitStatus()
		case s := <-signals:
			if kill != nil {
				s = syscall.SIGKILL
			}
			tell(s)
			over, kill = nil, time.After(killAfter)
		case <-over: // a source failed, or the signal is still to come
			over = nil
			select {
			case s := <-signals:
				tell(s)
			case <-time.After(time.Second):
				tell(syscall.SIGTERM)
			}
			kill = time.After(killAfter)
		case <-kill:
			tell(syscall.SIGKILL)
		}
	}
}

func (b *beside) env(rec *collect.Recorder, socket string) []string {
	prefix, err := filepath.Abs(rec.Prefix())
	if err != nil {
		prefix = rec.Prefix()
	}
	env := append(os.Environ(), envSocket+"="+socket, envEvidence+"="+filepath.Dir(prefix), envPrefix+"="+prefix)
	if exe, err := os.Executable(); err == nil {
		env = append(env, "PATH="+os.Getenv("PATH")+string(os.PathListSeparator)+filepath.Dir(exe)) // behind all others: they stay what they were
	}
	return env
}
