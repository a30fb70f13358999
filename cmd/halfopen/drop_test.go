package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"halfopen/fault"
	"halfopen/netns"
	"halfopen/timeline"
)

// Each method meets the connection that passes, tells so, and is gone afterwards.
func TestDrop(t *testing.T) {
	polled := mostly(t, 500*time.Millisecond) // the counters are, every 20 ms
	for _, tt := range []struct {
		args  string
		where string
		steps string
	}{
		{"--method a", timeline.Shipper, "drop undo"},
		{"--method a --hook forward --direction both --hold 1s", timeline.Router, "drop hold undo"},
		{"--method b --hold 1s", timeline.Shipper, "drop hold undo"},
		{"--method b --interface in", timeline.Router, "drop undo"},
		{"--method c --hold 1s", timeline.Router, "drop forget undo"},
		{"--method c --hold 1s", timeline.Receiver, "drop forget undo"},
		{"--method f-rst", timeline.Router, "reset undo"},
	} {
		t.Run(tt.where+" "+tt.args, func(t *testing.T) {
			t.Parallel()
			p := newBedPair(t)
			ns := map[string]*netns.NS{timeline.Shipper: p.bed.Shipper, timeline.Router: p.bed.Router, timeline.Receiver: p.bed.Receiver}[tt.where]
			before := p.tables(ns)
			d := startDrop(t, ns, append(strings.Fields(tt.args), "--for", "5s")...)
			d.await("step ")
			if err := p.talk(p.client, p.server, 500*time.Millisecond); err == nil {
				t.Error("what was sent came through")
			}
			if strings.Contains(tt.steps, " undo") && strings.Count(tt.steps, " ") == 2 {
				d.await("new connections pass, 1 connection of before do")
				client, server, err := p.dial(30 * time.Second)
				if err != nil {
					t.Fatalf("a new connection: %v", err)
				}
				if err := p.talk(client, server, 30*time.Second); err != nil {
					t.Errorf("a new connection: %v", err)
				}
			}
			d.wait(exitOK)
			w := d.window()
			if got := stepNames(w); got != tt.steps {
				t.Errorf("steps %s, want %s", got, tt.steps)
			}
			start, _ := w.Start()
			first, last, ok := w.Met(w.Steps[0].Name)
			if !ok || first.By.Before(start) || last.By.Before(first.By) {
				t.Errorf("start %s, first packet %+v, last %+v", start, first, last)
			}
			polled(last.By.Sub(last.After))
			if held, ok := w.Held(0); !ok || held < 5*time.Second || held > 30*time.Second {
				t.Errorf("held for %s, %t", held, ok)
			}
			if w.Steps[1].Name == fault.StepForget && tt.where == timeline.Router && (len(w.Steps[1].Deleted) != 1 || w.Steps[1].Deleted[0].Orig != p.flow()) {
				t.Errorf("deleted %v, want %v", w.Steps[1].Deleted, p.flow())
			}
			if after := p.tables(ns); !slices.Equal(after, before) {
				t.Errorf("tables %v, before %v", after, before)
			}
		})
	}
}

// Ctrl-C undoes it at once, and the window is whole. kill -9 undoes it too, and
// the window says how far it had come.
func TestDropEndedEarly(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			p := newBedPair(t)
			before := p.tables(p.bed.Router)
			d := startDrop(t, p.bed.Router, "--method", "c", "--for", "1h")
			d.await("step drop")
			if err := p.talk(p.client, p.server, 300*time.Millisecond); err == nil {
				t.Error("what was sent came through")
			}
			if err := d.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			want, steps := exitOK, "drop undo"
			if sig == syscall.SIGKILL {
				want, steps = -1, "drop"
			}
			d.wait(want)
			if got := stepNames(d.window()); got != steps {
				t.Errorf("steps %s, want %s", got, steps)
			}
			if after := p.tables(p.bed.Router); !slices.Equal(after, before) {
				t.Errorf("tables %v, before %v", after, before)
			}
			p.server.SetReadDeadline(time.Now().Add(30 * time.Second)) // the next retransmission
			if _, err := p.server.Read(make([]byte, 1)); err != nil {
				t.Errorf("the connection does not go on: %v", err)
			}
		})
	}
}

// A drop that meets nothing says so.
func TestDropMissed(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	d := startDrop(t, p.bed.Receiver, "--method", "a", "--hook", "forward", "--for", "1s")
	d.wait(exitInconclusive)
	if !strings.Contains(d.said.String(), "not one packet was met") {
		t.Errorf("it says\n%s", d.said.String())
	}
	if w := d.window(); stepNames(w) != "drop undo" {
		t.Errorf("steps %s", stepNames(w))
	}
}

// The connection that this is run over is held by an ancestor, as sshd's is.
func TestDropRefusesItsOwnSession(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	for _, args := range []string{"--port 5044", "--flow " + p.flow().Local.String() + "-" + p.flow().Remote.String()} {
		cmd := exec.Command(binary, append(strings.Fields("drop --method b --netns "+nsPath(p.bed.Shipper)+" --for 1s --evidence "+t.TempDir()), strings.Fields(args)...)...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitUsage || !bytes.Contains(out, []byte("the session that this is run from ("+p.flow().String()+", held by ")) {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	if err := p.talk(p.client, p.server, 30*time.Second); err != nil {
		t.Errorf("the connection is cut: %v", err)
	}
}

// The timeout of idle connections is not changed for others in silence, is put
// back, and after kill -9 by the next command.
func TestDropIdle(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	tmp := t.TempDir()
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(binary, append([]string{"drop", "--netns", nsPath(p.bed.Router), "--evidence", tmp}, args...)...)
		cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
		return cmd
	}
	out, err := run("--method", "e", "--port", "5050", "--idle", "2s").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitUsage || !bytes.Contains(out, []byte("1 others would be forgotten too")) {
		t.Errorf("%v\n%s", err, out)
	}
	was := idleTimeout(t, p.bed.Router)
	d := startDrop(t, p.bed.Router, "--method", "e", "--idle", "2s", "--for", "1h")
	d.await("step expire")
	if got := idleTimeout(t, p.bed.Router); got != "2" {
		t.Errorf("the timeout is %s", got)
	}
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	d.wait(-1)
	if out, err := run("--undo").CombinedOutput(); err != nil { // or another test's lab was first
		t.Errorf("%v\n%s", err, out)
	}
	until(60*time.Second, func() bool { return idleTimeout(t, p.bed.Router) == was })
	if got := idleTimeout(t, p.bed.Router); got != was {
		t.Errorf("the timeout is %s, it was %s", got, was)
	}
}

func idleTimeout(t *testing.T, ns *netns.NS) (value string) {
	t.Helper()
	err := ns.Do(func() error {
		text, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established")
		value = strings.TrimSpace(string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// A recorder that runs meanwhile is told, to the moment.
func TestDropIsRecorded(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	dir := t.TempDir()
	rec := exec.Command(binary, "record", "--netns", nsPath(p.bed.Shipper), "--evidence", dir, "--quiet")
	if err := rec.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rec.Process.Kill(); rec.Wait() })
	loaded := func() *timeline.Recording {
		path, err := timeline.Find(dir)
		if err != nil {
			return nil
		}
		r, err := timeline.Load(path)
		if err != nil {
			return nil
		}
		return r
	}
	until(60*time.Second, func() bool {
		r := loaded()
		return r != nil && slices.ContainsFunc(r.Records, func(k timeline.Record) bool { return k.Sockets != nil })
	})
	p.chatter()
	d := startDrop(t, p.bed.Shipper, "--method", "b", "--for", "2s", "--evidence", dir)
	d.wait(exitOK)
	if err := rec.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rec.Wait()
	var told []time.Time
	for _, k := range loaded().Records {
		if k.Mark != nil && k.Mark.Drop != "" && k.Mark.Called != nil {
			told = append(told, *k.Mark.Called)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*drop-window.txt"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		w, err := fault.ParseWindow(bytes.NewReader(text))
		if err != nil {
			continue // the recorder's own, by its marks
		}
		start, _ := w.Start()
		end, _ := w.End()
		if len(told) != 2 || !told[0].Equal(start) || !told[1].Equal(end) {
			t.Errorf("the recorder was told %v, the window is from %s to %s", told, start, end)
		}
		return
	}
	t.Errorf("no drop window among %v", files)
}

// Without rights it says what would be done, and what is missing to do it.
func TestDropWithoutRights(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	for args, want := range map[string]string{
		"--dry-run": "add table inet halfopen-",
		"":          "it takes CAP_NET_ADMIN: run as root",
	} {
		cmd := exec.Command(binary, append(strings.Fields("drop --port 5044 --evidence "+dir+"/evidence"), strings.Fields(args)...)...)
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		if !bytes.Contains(out, []byte(want)) || (err == nil) != (args != "") {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
