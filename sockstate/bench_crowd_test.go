package sockstate

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"

	"github.com/prometheus/procfs"

	"halfopen/netns"
)

const (
	// holdEnv makes the test binary a holder of connections: "ADDRESS:PORT COUNT".
	holdEnv = "SOCKSTATE_HOLD"
	// holderMax connections take 18,000 descriptors: on some systems a process
	// may have no more than 20,000.
	holderMax = 9000
	watched   = 4 // connections on testPort
)

func init() {
	spec := os.Getenv(holdEnv)
	if spec == "" {
		return
	}
	if err := hold(spec); err != nil {
		fmt.Fprintln(os.Stderr, "hold connections:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// hold connects to a listener of its own, says "ready" and keeps both ends of
// all connections until its input ends.
func hold(spec string) error {
	var at string
	var count int
	if _, err := fmt.Sscan(spec, &at, &count); err != nil {
		return fmt.Errorf("%s=%q: %w", holdEnv, spec, err)
	}
	// 90,000 sockets that probe each other would be a load of their own.
	config := net.ListenConfig{KeepAlive: -1}
	dialer := net.Dialer{KeepAlive: -1}
	l, err := config.Listen(context.Background(), "tcp4", at)
	if err != nil {
		return err
	}
	ends := make([]net.Conn, 0, 2*count)
	for range count {
		client, err := dialer.Dial("tcp4", at)
		if err != nil {
			return err
		}
		server, err := l.Accept()
		if err != nil {
			return err
		}
		// The end is a RST, which leaves no TIME_WAIT behind.
		if err := client.(*net.TCPConn).SetLinger(0); err != nil {
			return err
		}
		ends = append(ends, client, server)
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	for _, end := range ends {
		end.Close()
	}
	return err
}

// crowd is a private namespace with many sockets, few of them on testPort.
type crowd struct {
	ns      *netns.NS
	sockets int // both ends of the connections, and listeners
	holders int
}

// crowdOf makes a crowd of at least so many sockets.
func crowdOf(tb testing.TB, sockets int) *crowd {
	tb.Helper()
	c := &crowd{ns: private(tb)}
	c.hold(tb, testPort, watched)()
	c.grow(tb, sockets)
	return c
}

// grow adds connections that are not watched until there are so many sockets.
func (c *crowd) grow(tb testing.TB, sockets int) {
	tb.Helper()
	var ready []func()
	for c.sockets < sockets {
		ready = append(ready, c.hold(tb, testPort+1, min((sockets-c.sockets+1)/2, holderMax)))
	}
	for _, wait := range ready {
		wait()
	}
	if n := c.inUse(tb); n < sockets {
		tb.Fatalf("%d sockets of %d", n, sockets)
	}
}

// inUse is the kernel's own count of the sockets in its tables
// (/proc/net/sockstat): what any reading of them must come to.
func (c *crowd) inUse(tb testing.TB) int {
	tb.Helper()
	fs, err := procfs.NewFS(c.ns.ProcRoot())
	if err != nil {
		tb.Fatal(err)
	}
	stat, err := fs.NetSockstat()
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range stat.Protocols {
		if p.Protocol == "TCP" {
			return p.InUse
		}
	}
	tb.Fatal("no count of TCP sockets")
	return 0
}

// hold starts a process with count connections to an address of its own.
func (c *crowd) hold(tb testing.TB, port, count int) (wait func()) {
	tb.Helper()
	c.holders++
	c.sockets += 2*count + 1
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=127.0.0.%d:%d %d", holdEnv, c.holders, port, count))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.ns.Start(cmd); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("holder: %v", err)
		}
	})
	return func() {
		if _, err := fmt.Fscanln(out, new(string)); err != nil {
			tb.Fatalf("wait for a holder: %v", err)
		}
	}
}
