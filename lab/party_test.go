package lab

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"halfopen/netns"
)

// startShell starts a shell command as a party in this namespace.
func startShell(t *testing.T, valve *Valve, command string) *Party {
	t.Helper()
	ns, err := netns.Open("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	p := &Party{Name: "party", Role: "shipper", Args: []string{"/bin/sh", "-c", command}, Log: filepath.Join(t.TempDir(), "log"), Valve: valve}
	if err := StartParty(ns, p, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func (p *Party) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.Log)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A party whose output is shut waits in its writes, and goes on when it is open
// again; nothing of it is lost.
func TestValve(t *testing.T) {
	valve, count := &Valve{}, filepath.Join(t.TempDir(), "count")
	gate := filepath.Join(t.TempDir(), "gate") // it is done in no time
	p := startShell(t, valve, "echo first; until [ -e "+gate+" ]; do sleep 0.01; done; i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo \"line $i of many that are rather long, so that a page is full soon\"; echo $i >"+count+"; done")
	await(t, "its first line", func() bool { return p.said(t) == "first\n" })
	valve.Shut()
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	written := func() string { text, _ := os.ReadFile(count); return strings.TrimSpace(string(text)) }
	var before string
	await(t, "it to stand still", func() bool {
		before = written()
		<-time.After(50 * time.Millisecond)
		return before != "" && written() == before
	})
	if before == "400" {
		t.Error("it was never made to wait")
	}
	valve.Open()
	<-p.Done()
	await(t, "all its lines", func() bool { return strings.Count(p.said(t), "\n") == 401 })
	if p.ByUs() || p.How() != "exit status 0" {
		t.Errorf("%s, by us %t", p.How(), p.ByUs())
	}
}

// A stopped party can be ended, and one that is killed was so by us.
func TestPartyEnds(t *testing.T) {
	for name, end := range map[string]func(*Party){
		"stop": func(p *Party) { p.Stop() },
		"stop of a stopped one": func(p *Party) {
			if err := p.Signal(syscall.SIGSTOP); err != nil {
				t.Error(err)
			}
			p.Stop()
		},
		"kill": func(p *Party) {
			if err := p.Kill(); err != nil {
				t.Error(err)
			}
		},
	} {
		p := startShell(t, nil, "echo here; sleep 1000 & wait")
		await(t, "the party", func() bool { return p.said(t) == "here\n" })
		end(p)
		select {
		case <-p.Done():
		default:
			t.Errorf("%s: it lives", name)
		}
		if !p.ByUs() {
			t.Errorf("%s: not by us", name)
		}
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("%s: a signal to one that has exited: %v", name, err)
		}
	}
}

// What the client sends is acknowledged by the proxy, arrives, and so does the
// answer; the end of one side reaches the other.
func TestProxy(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var log lockedBuffer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Proxy(ctx, "127.0.0.1:0", server.Addr().String(), &log) }()
	var at string
	await(t, "the proxy to listen", func() bool {
		_, err := fmt.Sscanf(log.String(), "listening on %s", &at)
		return err == nil
	})
	client, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	far, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if far.RemoteAddr().String() == client.LocalAddr().String() {
		t.Error("the server sees the client itself")
	}
	for _, way := range [][2]net.Conn{{client, far}, {far, client}} {
		if _, err := way[0].Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		way[1].SetReadDeadline(time.Now().Add(60 * time.Second))
		if got, err := io.ReadAll(io.LimitReader(way[1], 5)); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
	}
	far.Close()
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v, want the server's end", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
