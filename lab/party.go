package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"halfopen/netns"
)

// Party is a program that runs inside the bed: the shipper or the receiver.
type Party struct {
	Name string // filebeat, logstash: names its log among the evidence
	Role string
	Args []string
	Log  string // file that takes its output
	PID  int
	// Valve, where it is set, lets the output through, or lets the party wait that
	// writes it.
	Valve *Valve

	cmd  *exec.Cmd
	done chan struct{} // closed once it has exited
	how  string
	byUs atomic.Bool // the end was
}

// Environment variables that a party is told its part with. The embedded ones
// and any program given by --shipper-cmd or --receiver-cmd get the same.
const (
	EnvRole          = "HALFOPEN_ROLE"           // shipper or receiver
	EnvDir           = "HALFOPEN_DIR"            // folder of its own, removed with the bed
	EnvInput         = "HALFOPEN_INPUT"          // log file to ship
	EnvReceiver      = "HALFOPEN_RECEIVER"       // address to ship to
	EnvListen        = "HALFOPEN_LISTEN"         // address that the receiver listens on
	EnvStats         = "HALFOPEN_STATS"          // address to serve the stats on
	EnvTimeout       = "HALFOPEN_TIMEOUT"        // output.logstash.timeout
	EnvPipelining    = "HALFOPEN_PIPELINING"     // output.logstash.pipelining
	EnvQueue         = "HALFOPEN_QUEUE"          // queue.mem.events
	EnvStatsShape    = "HALFOPEN_STATS_SHAPE"    // 7.17 or 8.15
	EnvClientTimeout = "HALFOPEN_CLIENT_TIMEOUT" // client_inactivity_timeout of the receiver
	EnvFilebeatYML   = "HALFOPEN_FILEBEAT_YML"   // the same settings as a Filebeat reads them
	EnvKeepalive     = "HALFOPEN_KEEPALIVE"      // on or off: TCP keepalive of the shipper's connection
	envLab           = "HALFOPEN_LAB"            // marks every process of a lab, for Sweep
)

// StartParty starts a program in the namespace, its output going to p.Log. It is
// killed when this process dies, even by SIGKILL.
func StartParty(ns *netns.NS, p *Party, env []string) error {
	out, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.Name, err)
	}
	defer out.Close()
	p.cmd = exec.Command(p.Args[0], p.Args[1:]...)
	p.cmd.Env = append(append(os.Environ(), env...), EnvRole+"="+p.Role, envLab+"="+self())
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if p.Valve != nil {
		pipe, err := p.Valve.into(p.Log)
		if err != nil {
			return fmt.Errorf("open output of %s: %w", p.Name, err)
		}
		defer pipe.Close() // the party has its own
		p.cmd.Stdout = pipe
	}
	// A group of its own: Ctrl-C reaches the lab alone, which then ends its
	// parties in order, with the children they may have.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := ns.Start(p.cmd); err != nil {
		return fmt.Errorf("start %s %q: %w", p.Role, strings.Join(p.Args, " "), err)
	}
	p.PID, p.done = p.cmd.Process.Pid, make(chan struct{})
	go func() {
		defer close(p.done)
		p.how = "exit status 0"
		if err := p.cmd.Wait(); err != nil {
			p.how = err.Error()
		}
	}()
	return nil
}

// Done is closed once the party has exited.
func (p *Party) Done() <-chan struct{} { return p.done }

// How says how the party exited; only after Done.
func (p *Party) How() string { return p.how }

// ByUs says whether it exited because Kill or Stop ended it.
func (p *Party) ByUs() bool { return p.byUs.Load() }

// Kill ends the party and its children at once.
func (p *Party) Kill() error {
	p.byUs.Store(true)
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// stopGrace is how long a party may take to end by itself.
const stopGrace = 3 * time.Second

// Stop asks the party to end, and kills it and its children if it does not.
func (p *Party) Stop() {
	p.byUs.Store(true)
	_ = p.Signal(syscall.SIGTERM)
	_ = p.Signal(syscall.SIGCONT) // a stopped one can't end
	select {
	case <-p.done:
	case <-time.After(stopGrace):
		_ = p.Signal(syscall.SIGKILL)
		<-p.done
	}
}

// Signal sends a signal to the party and its children, unless it has exited.
func (p *Party) Signal(sig syscall.Signal) error {
	select {
	case <-p.done: // its number may be another's by now
		return nil
	default:
	}
	if err := syscall.Kill(-p.PID, sig); err != nil { // its process group
		return fmt.Errorf("send %s to %s: %w", sig, p.Name, err)
	}
	return nil
}

// LastLines returns the end of the party's output, for a message about its exit.
func (p *Party) LastLines() string {
	const most = 600
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	if s := strings.TrimSpace(string(b[max(0, len(b)-most):])); s != "" {
		return s
	}
	return "it printed nothing"
}

// ErrExited is returned when a party exits while it is waited for.
var ErrExited = errors.New("exited")

// Await calls ready every 50 ms until it returns true, the party exits or ctx
// ends.
func (p *Party) Await(ctx context.Context, ready func() bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-p.done:
			return fmt.Errorf("%s %w (%s): %s", p.Role, ErrExited, p.how, p.LastLines())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %s", p.Role, context.Cause(ctx), p.LastLines())
		case <-tick.C:
		}
	}
	return nil
}
