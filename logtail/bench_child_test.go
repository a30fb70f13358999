package logtail_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/logtail"
)

// childEnv makes the test binary a program that follows: "count PATH" to the end
// that it has now, "follow PATTERN" until it is ended, "time PATH" until a line
// "end", after which it says how long each line took. What a benchmark measures
// so is a process of its own, as the rivals are.
const childEnv = "LOGTAIL_CHILD"

func init() {
	spec := os.Getenv(childEnv)
	if spec == "" {
		return
	}
	// Not on this goroutine: until main begins it is tied to a thread, and every
	// line would wait for that thread to be woken.
	done := make(chan error)
	go func() { done <- child(spec) }()
	if err := <-done; err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(spec string) error {
	mode, path, _ := strings.Cut(spec, " ")
	switch mode {
	case "count":
		return count(path)
	case "time":
		return clockLines(path)
	}
	return logtail.FollowGlob(context.Background(), logtail.Config{Path: path}, logtail.Handler{
		Line: func(logtail.Line) error { return nil },
	})
}

// clockLines says when it is ready, and at the end how many nanoseconds each
// line was under way.
func clockLines(path string) error {
	var c clocked
	err := logtail.Follow(context.Background(), logtail.Config{Path: path}, logtail.Handler{
		Line: func(l logtail.Line) error {
			if c.line(string(l.Bytes), monotonic()) {
				return errEnd
			}
			if c.ready {
				return nil
			}
			c.ready = true
			_, err := fmt.Println("ready")
			return err
		},
	})
	if err != errEnd {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	for _, d := range c.took {
		fmt.Fprintln(out, int64(d))
	}
	return out.Flush()
}

// clocked collects how long lines were under way that begin with the time they
// were written.
type clocked struct {
	took  []time.Duration
	ready bool
}

func (c *clocked) line(text string, now time.Duration) (end bool) {
	word, _, _ := strings.Cut(text, " ")
	if at, err := strconv.ParseInt(word, 10, 64); err == nil {
		c.took = append(c.took, now-time.Duration(at))
	}
	return word == "end"
}

// monotonic is a clock that all processes share.
func monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}

var errEnd = errors.New("the end is reached")

func count(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	var lines int64
	err = logtail.Follow(context.Background(), logtail.Config{Path: path, From: logtail.FromBeginning}, logtail.Handler{
		Line: func(l logtail.Line) error {
			if lines++; l.Offset+l.Size == info.Size() {
				return errEnd
			}
			return nil
		},
	})
	if err == errEnd {
		_, err = fmt.Println(lines)
	}
	return err
}

// ours is this binary as a program that follows.
func ours(spec string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+spec)
	return cmd
}

// running is a program that writes the lines it follows to a pipe.
type running struct {
	cmd   *exec.Cmd
	lines *bufio.Reader
}

func start(cmd *exec.Cmd) (*running, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &running{cmd, bufio.NewReaderSize(out, 1<<20)}, cmd.Start()
}

// end returns the processor time that the program took, user and kernel.
func (r *running) end() (time.Duration, error) {
	err := r.cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, r.lines)
	_ = r.cmd.Wait()
	return r.cmd.ProcessState.UserTime() + r.cmd.ProcessState.SystemTime(), err
}
