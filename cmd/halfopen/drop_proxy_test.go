package main

import (
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"halfopen/netns"
)

// Whatever ends a drop with a proxy, and at whatever step, nothing of it is left:
// the shipper is told at its next word, and connects anew.
func TestDropProxyEnds(t *testing.T) {
	for _, tt := range []struct {
		args, at string // the step at which it is ended
		where    func(*bedPair) *netns.NS
		signal   syscall.Signal
		want     int
	}{
		{"--method d", "step proxy", func(p *bedPair) *netns.NS { return p.bed.Router }, syscall.SIGINT, exitOK},
		{"--method d", "step drop", func(p *bedPair) *netns.NS { return p.bed.Router }, syscall.SIGKILL, -1},
		{"--method f-ack0", "step ack0", func(p *bedPair) *netns.NS { return p.bed.Shipper }, syscall.SIGKILL, -1},
		{"--method d", "step hold", func(p *bedPair) *netns.NS { return p.bed.Receiver }, syscall.SIGKILL, -1},
		{"--method f-ack0", "step hold", func(p *bedPair) *netns.NS { return p.bed.Router }, syscall.SIGTERM, exitOK},
	} {
		t.Run(tt.args+" "+tt.at+" "+tt.signal.String(), func(t *testing.T) {
			t.Parallel()
			p := newBedPair(t)
			ns := tt.where(p)
			before := p.tables(ns)
			place := sleeper(t, ns) // what a container's process is
			d := startDropAt(t, []string{"--pid", strconv.Itoa(place)}, append(strings.Fields(tt.args), "--for", "1s", "--hold", "1h")...)
			d.await("step proxy")
			client, server, err := p.dial(30 * time.Second)
			if err != nil {
				t.Fatal(err)
			}
			ways := [][2]io.ReadWriter{{client, server}, {server, client}}
			if tt.at == "step proxy" {
				ways = ways[:1] // with data both ways the next step comes
			}
			for _, way := range ways {
				way[0].Write([]byte("2W"))
				if _, err := io.ReadFull(way[1], make([]byte, 2)); err != nil {
					t.Fatal(err)
				}
			}
			if tt.at != "step proxy" {
				d.await(tt.at)
				client.Write([]byte("more"))
				if tt.want == exitOK {
					d.await("4 bytes to the port")
				}
			}
			if err := d.cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			d.wait(tt.want)
			if after := p.tables(ns); !slices.Equal(after, before) {
				t.Errorf("tables %v, before %v", after, before)
			}
			told := false
			until(60*time.Second, func() bool {
				_, err := client.Write([]byte("x"))
				told = err != nil
				return told
			})
			if !told {
				t.Error("the client is never told that its connection has ended")
			}
			if err := p.talk(p.client, p.server, 30*time.Second); err != nil {
				t.Errorf("the connection of before: %v", err)
			}
			client, server, err = p.dial(30 * time.Second)
			if err != nil {
				t.Fatalf("a new connection: %v", err)
			}
			if err := p.talk(client, server, 30*time.Second); err != nil {
				t.Errorf("a new connection: %v", err)
			}
		})
	}
}

// sleeper is a process in a namespace.
func sleeper(t *testing.T, ns *netns.NS) (pid int) {
	t.Helper()
	cmd := exec.Command("sleep", "infinity")
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd.Process.Pid
}
