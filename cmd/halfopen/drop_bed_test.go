package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

	"halfopen/fault"
	"halfopen/flow"
	"halfopen/lab"
	"halfopen/netns"
)

// bedPair is a connection through the lab's router, both ends held by the test.
type bedPair struct {
	t              testing.TB
	bed            *lab.Bed
	listener       net.Listener
	client, server net.Conn
}

func newBedPair(t testing.TB) *bedPair {
	t.Helper()
	p := &bedPair{t: t}
	var err error
	if p.bed, err = lab.NewBed(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.bed.Close)
	err = p.bed.Receiver.Do(func() (err error) {
		p.listener, err = net.Listen("tcp", ":5044")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.listener.Close() })
	if p.client, p.server, err = p.dial(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *bedPair) dial(timeout time.Duration) (client, server net.Conn, err error) {
	err = p.bed.Shipper.Do(func() error {
		client, err = net.DialTimeout("tcp", netip.AddrPortFrom(lab.ReceiverAddr, shipPort).String(), timeout)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	p.t.Cleanup(func() { client.Close() })
	if server, err = p.listener.Accept(); err == nil {
		p.t.Cleanup(func() { server.Close() })
	}
	return client, server, err
}

// talk sends a byte and waits for it at the other end.
func (p *bedPair) talk(from, to net.Conn, within time.Duration) error {
	from.Write([]byte("x"))
	to.SetReadDeadline(time.Now().Add(within))
	_, err := io.ReadFull(to, make([]byte, 1))
	return err
}

func (p *bedPair) flow() flow.Flow {
	return flow.New(p.client.LocalAddr().(*net.TCPAddr).AddrPort(), p.client.RemoteAddr().(*net.TCPAddr).AddrPort())
}

// tables are the names of the nf_tables tables of a namespace.
func (p *bedPair) tables(ns *netns.NS) (names []string) {
	p.t.Helper()
	err := ns.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		list, err := c.ListTables()
		for _, t := range list {
			names = append(names, t.Name)
		}
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return names
}

// path of a namespace for another process.
func nsPath(ns *netns.NS) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.FD()) }

// dropRun is a drop under way.
type dropRun struct {
	t        *testing.T
	evidence string
	cmd      *exec.Cmd
	stdout   bytes.Buffer
	progress *bufio.Scanner
	said     strings.Builder
}

// startDrop starts one. The test holds the connections, and is an ancestor of it:
// without --yes-i-mean-it that is refused.
func startDrop(t *testing.T, ns *netns.NS, args ...string) *dropRun {
	t.Helper()
	return startDropAt(t, []string{"--netns", nsPath(ns)}, args...)
}

func startDropAt(t *testing.T, place []string, args ...string) *dropRun {
	t.Helper()
	d := &dropRun{t: t, evidence: filepath.Join(t.TempDir(), "evidence")}
	d.cmd = exec.Command(binary, slices.Concat([]string{"drop"}, place, []string{"--port", "5044", "--yes-i-mean-it", "--evidence", d.evidence}, args)...)
	d.cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	d.cmd.Stdout = &d.stdout
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.progress = bufio.NewScanner(stderr)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.cmd.Process.Kill() })
	return d
}

func (d *dropRun) await(text string) {
	d.t.Helper()
	for d.progress.Scan() {
		d.said.WriteString(d.progress.Text() + "\n")
		if strings.Contains(d.progress.Text(), text) {
			return
		}
	}
	d.t.Fatalf("the drop never said %q:\n%s", text, d.said.String())
}

func (d *dropRun) wait(want int) {
	d.t.Helper()
	for d.progress.Scan() {
		d.said.WriteString(d.progress.Text() + "\n")
	}
	err := d.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Fatal(err)
	}
	if code := d.cmd.ProcessState.ExitCode(); code != want {
		d.t.Fatalf("exit code %d, want %d\n%s%s", code, want, &d.stdout, d.said.String())
	}
}

func (d *dropRun) window() fault.Window {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.evidence, "halfopen-nat-*-drop-window.txt"))
	if err != nil || len(files) != 1 {
		d.t.Fatalf("drop windows %v, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		d.t.Fatal(err)
	}
	w, err := fault.ParseWindow(bytes.NewReader(text))
	if err != nil {
		d.t.Fatalf("%v\n%s", err, text)
	}
	return w
}

func stepNames(w fault.Window) string {
	var names []string
	for _, s := range w.Steps {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}
