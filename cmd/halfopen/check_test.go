package main

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"halfopen/fault"
	"halfopen/lab"
	"halfopen/sockstate"
	"halfopen/verdict"
)

func TestCheckHealthy(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	p.chatter()
	c, code := p.checked()
	conn := one(t, c)
	if code != exitOK || conn.Health != verdict.Healthy || conn.Connection != p.flow() || c.Over < 900*time.Millisecond || c.Over > time.Minute {
		t.Errorf("exit code %d, %+v", code, c)
	}
	if conn.Backoff == nil || conn.LastAck == nil || len(conn.Ends) > 0 || conn.Next != "" {
		t.Errorf("%+v", conn)
	}
}

func TestCheckIdle(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	for _, way := range [][2]net.Conn{{p.client, p.server}, {p.server, p.client}} {
		if err := p.talk(way[0], way[1], 30*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	var c verdict.Checkup
	code := -1
	until(60*time.Second, func() bool { // what was sent is fresh at first
		c, code = p.checked("--over", "0s", "--fresh", "1s")
		return one(t, c).Health == verdict.Idle
	})
	if conn := one(t, c); code != exitOK || conn.Health != verdict.Idle || c.Over != 0 {
		t.Errorf("exit code %d, %+v", code, conn)
	}
}

// Both ways dropped, in silence, while the shipper sends.
func TestCheckHalfOpen(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	p.chatter()
	if conn := one(t, first(p.checked("--over", "0s"))); conn.Health != verdict.Healthy {
		t.Fatalf("before the cut: %+v", conn)
	}
	began := time.Now()
	p.cut(p.bed.Router, fault.Transient, false)
	conn := p.becomes(began, verdict.HalfOpen, verdict.Defaults().Outage)
	if conn.Confidence != verdict.Low || !strings.Contains(conn.Why, "a path that is down for a moment looks the same") {
		t.Errorf("%+v", conn)
	}
	conn = p.becomes(began, verdict.HalfOpen, 3*time.Second, "--outage", "3s", "--silent", "3s", "--stall-after", "3s", "--fresh", "1s")
	if conn.Confidence != "" || conn.Unacked == 0 || conn.Retransmits == 0 || len(conn.Ends) != 1 || conn.Ends[0].By != verdict.ByKernel || conn.Ends[0].Earliest == nil {
		t.Errorf("%+v", conn)
	}
	if left := time.Until(*conn.Ends[0].Latest); left < 14*time.Minute || left > 20*time.Minute {
		t.Errorf("the kernel gives up within %s, want a quarter of an hour and a bit: %s", left, conn.Ends[0].Text)
	}
}

func first[A, B any](a A, _ B) A { return a }

// The router has forgotten the flow: new connections pass, the old one is dead.
func TestCheckForgottenFlow(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	p.chatter()
	began := time.Now()
	p.cut(p.bed.Router, fault.Transient, true)
	conn := p.becomes(began, verdict.HalfOpen, 3*time.Second, "--outage", "3s", "--silent", "3s", "--fresh", "1s")
	client, _, err := p.dial(30 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c, code := p.checked("--silent", "3s", "--fresh", "1s")
	if s := c.Shippers[0]; code != exitStalled || len(s.Connections) != 2 || s.Count[verdict.Stuck] != 1 || s.Connections[0].Connection != conn.Connection ||
		s.Connections[1].Connection.Local.String() != client.LocalAddr().String() || !strings.Contains(c.Summary, "1 of 2 connections") {
		t.Errorf("exit code %d, %+v", code, c)
	}
}

// Nothing in flight, and keepalive probes go unanswered.
func TestCheckIdleHalfOpen(t *testing.T) {
	t.Parallel()
	began := time.Now() // the last ACK may be the first
	p := newBedPair(t)
	err := p.client.(*net.TCPConn).SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 60})
	if err != nil {
		t.Fatal(err)
	}
	p.cut(p.bed.Router, fault.Transient, true)
	if conn := p.becomes(began, verdict.IdleHalfOpen, 3*time.Second, "--silent", "3s", "--fresh", "1s"); conn.Timer != sockstate.TimerKeepalive || conn.Unacked != 0 {
		t.Errorf("%+v", conn)
	}
}

// This host's own rules refuse what is sent.
func TestCheckLocalDrop(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	began := time.Now()
	p.cut(p.bed.Shipper, fault.Local, false)
	if _, err := p.client.Write([]byte("a line of the log\n")); err != nil {
		t.Fatal(err)
	}
	p.becomes(began, verdict.LocalDrop, 3*time.Second, "--silent", "3s", "--fresh", "1s")
}

// The receiver stops reading.
func TestCheckZeroWindow(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	began := time.Now()
	go stuff(p.client)
	conn := p.becomes(began, verdict.ZeroWindow, 3*time.Second, "--stall-after", "3s", "--fresh", "1s")
	if conn.Timer != sockstate.TimerProbe || conn.Unacked == 0 || conn.Unsent == nil || *conn.Unsent != conn.Unacked {
		t.Errorf("%+v", conn)
	}
}

// The receiver has closed, and the shipper does not notice: one may be about to,
// several are a pile.
func TestCheckCloseWait(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	p.server.Close()
	var conn verdict.ConnCheck
	closed := false
	until(60*time.Second, func() bool {
		conn = one(t, first(p.checked("--over", "0s", "--stall-after", "1s")))
		closed = conn.State == sockstate.CloseWait && conn.Health == verdict.Untold && conn.Class == verdict.CloseWait
		return closed
	})
	if !closed {
		t.Errorf("%+v", conn)
	}
	for range 2 {
		_, server, err := p.dial(30 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		server.Close()
	}
	var c verdict.Checkup
	until(60*time.Second, func() bool {
		c, _ = p.checked("--over", "0s", "--stall-after", "1s")
		return c.Health == verdict.Stuck
	})
	if s := c.Shippers[0]; s.Health != verdict.Stuck || s.Class != verdict.CloseWait || s.Count[verdict.Stuck] != 3 {
		t.Errorf("%+v", s)
	}
}

// The receiver is gone: a reset leaves no connection, and what was never answered
// is being made.
func TestCheckReceiverGone(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	p.listener.Close()
	p.server.(*net.TCPConn).SetLinger(0)
	p.server.Close()
	var c verdict.Checkup
	code := 0
	until(60*time.Second, func() bool {
		c, code = p.checked("--over", "0s")
		return len(c.Shippers[0].Connections) == 0
	})
	if s := c.Shippers[0]; code != exitInconclusive || s.Health != verdict.Untold || !strings.Contains(s.Why, "no connection to port [5044]") {
		t.Errorf("exit code %d, %+v", code, s)
	}
	began := time.Now()
	p.cut(p.bed.Router, fault.Transient, false)
	go p.bed.Shipper.Do(func() error {
		d := net.Dialer{Timeout: time.Minute}
		conn, err := d.Dial("tcp", netip.AddrPortFrom(lab.ReceiverAddr, shipPort).String())
		if err == nil {
			conn.Close()
		}
		return err
	})
	p.becomes(began, verdict.NotConnected, 2*time.Second, "--silent", "2s")
}

// A real shipper, found by its process: with counters, and without the connections
// of others in its namespace.
func TestCheckShipper(t *testing.T) {
	t.Parallel()
	near, far := host(t), host(t)
	wire(t, near, far)
	shipper, receiver := shipping(t, near, far, "10.52.0.2")
	err := near.Do(func() error {
		other, err := net.Dial("tcp", "10.52.0.2:5044")
		if err == nil {
			t.Cleanup(func() { other.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var c verdict.Checkup
	code, well := -1, false
	until(60*time.Second, func() bool {
		c, code = checked(t, "--pid", strconv.Itoa(shipper))
		s := c.Shippers[0]
		n := s.Counters
		well = code == exitOK && len(s.Connections) == 1 && n != nil && n.Acked != nil && *n.Acked == 3 && n.Pending != nil && *n.Pending == 0 && n.AckedBy != nil &&
			strings.Contains(s.What, "process "+strconv.Itoa(shipper))
		return well
	})
	if !well {
		t.Fatalf("exit code %d, %+v", code, c)
	}
	// By its namespace, both are there.
	if c, _ := checked(t, "--netns", nsPath(near)); len(c.Shippers[0].Connections) != 2 {
		t.Errorf("in its namespace: %+v", c.Shippers[0])
	}
	// By itself, without being named.
	if c, _ := checked(t); !slices.ContainsFunc(c.Shippers, func(s verdict.ShipperCheck) bool {
		return strings.Contains(s.What, "process "+strconv.Itoa(shipper)+" ")
	}) {
		t.Errorf("process %d was not found: %+v", shipper, c.Shippers)
	}
	// Frozen, its kernel goes on answering, its endpoint does not.
	freeze(t, shipper)
	c, code = checked(t, "--pid", strconv.Itoa(shipper), "--over", "500ms", "--fresh", "1ms")
	waited := 11 * time.Second
	if len(c.Partial) > 0 {
		_, text, _ := strings.Cut(c.Partial[0], "no answer within ")
		waited, _ = time.ParseDuration(strings.TrimRight(strings.Fields(text + " -")[0], ",;:)"))
	}
	if code != exitInconclusive || waited < time.Second || waited > 10*time.Second || len(c.Shippers[0].Connections) != 1 {
		t.Errorf("frozen: exit code %d, waited %s, %+v", code, waited, c)
	}
	if err := syscall.Kill(shipper, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	_ = receiver
}

// An application that is stopped behind a kernel that goes on acknowledging.
func TestCheckSilentPeer(t *testing.T) {
	t.Parallel()
	near, far := host(t), host(t)
	wire(t, near, far)
	shipper, receiver := shipping(t, near, far, "10.52.0.2")
	pid := strconv.Itoa(shipper)
	until(60*time.Second, func() bool {
		n := first(checked(t, "--pid", pid, "--over", "0s")).Shippers[0].Counters
		return n != nil && n.Acked != nil && *n.Acked == 3
	})
	freeze(t, receiver)
	input := inputOf(t, shipper)
	f, err := os.OpenFile(input, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	began := time.Now()
	if _, err := f.WriteString("four\nfive\n"); err != nil {
		t.Fatal(err)
	}
	var c verdict.Checkup
	code := 0
	until(60*time.Second, func() bool {
		c, code = checked(t, "--pid", pid, "--stall-after", "12s", "--fresh", "1s")
		return code == exitStalled
	})
	s := c.Shippers[0]
	if took := time.Since(began); code != exitStalled || s.Class != verdict.SilentPeer || took < 12*time.Second || *s.Counters.Pending != 2 || s.Connections[0].Unacked != 0 {
		t.Errorf("exit code %d after %s, %+v", code, took, s)
	}
}

// freeze stops a process; each of its threads does so at its next moment on a CPU.
func freeze(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	frozen := func() bool {
		threads, err := procfs.AllThreads(pid)
		return err == nil && !slices.ContainsFunc(threads, func(p procfs.Proc) bool {
			stat, err := p.Stat()
			return err != nil || stat.State != "T"
		})
	}
	if until(60*time.Second, frozen); !frozen() {
		t.Fatalf("process %d does not stop", pid)
	}
}

// inputOf is the log that the embedded shipper reads.
func inputOf(t *testing.T, pid int) string {
	t.Helper()
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	for v := range strings.SplitSeq(string(env), "\x00") {
		if path, ok := strings.CutPrefix(v, lab.EnvInput+"="); ok {
			return path
		}
	}
	t.Fatalf("process %d has no %s", pid, lab.EnvInput)
	return ""
}

// An ordinary user is told of the sockets in his own namespace, and of what he may
// not look into; nothing is called stalled for want of rights.
func TestCheckAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	ns := host(t)
	shipper, _ := shipping(t, ns, ns, "127.0.0.1")
	for _, args := range [][]string{nil, {"--pid", strconv.Itoa(shipper)}} {
		cmd := exec.Command(binary, append([]string{"check", "--timeout", "1m"}, args...)...)
		cmd.Dir, cmd.Env = "/", []string{}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := ns.Start(cmd); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != exitInconclusive && code != exitOK {
			t.Errorf("%v: exit code %d\n%s", args, code, &out)
		}
		for _, want := range []string{"127.0.0.1:5044 ESTABLISHED", "CAP_SYS_PTRACE"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v: %q is missing in\n%s", args, want, &out)
			}
		}
	}
}

// What was had when the time ran out is shown, and marked.
func TestCheckTimeout(t *testing.T) {
	t.Parallel()
	c, code := checked(t, "--timeout", "1ms", "--over", "0s")
	if code != exitInconclusive || len(c.Partial) != 1 || !strings.Contains(c.Partial[0], "--timeout") || !strings.Contains(c.Partial[0], "the search for shippers") {
		t.Errorf("exit code %d, %+v", code, c)
	}
}
