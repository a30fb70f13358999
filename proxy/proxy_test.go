package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bed is a proxy at work between a client and a server of the test's.
type bed struct {
	t      *testing.T
	proxy  *Proxy
	server net.Listener
	at     string
	end    func() // of the proxy
}

func newBed(t *testing.T) *bed {
	t.Helper()
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	b := &bed{t: t, server: listen()}
	b.proxy = &Proxy{Log: t.Output(), Dial: func(ctx context.Context, _ *net.TCPConn) (*net.TCPConn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", b.server.Addr().String())
		if err != nil {
			return nil, err
		}
		return c.(*net.TCPConn), nil
	}}
	l := listen()
	b.at = l.Addr().String()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.proxy.Serve(ctx, l) }()
	b.end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(b.end)
	return b
}

func (b *bed) dial() (client, server net.Conn) {
	b.t.Helper()
	client, err := net.Dial("tcp", b.at)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { client.Close() })
	if server, err = b.server.Accept(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { server.Close() })
	for _, c := range []net.Conn{client, server} {
		c.SetDeadline(time.Now().Add(60 * time.Second))
	}
	return client, server
}

func (b *bed) pass(from, to net.Conn, text string) {
	b.t.Helper()
	if _, err := from.Write([]byte(text)); err != nil {
		b.t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		b.t.Fatalf("%q, %v; want %q", got, err, text)
	}
}

// One way may end before the other.
func TestHalfClosed(t *testing.T) {
	b := newBed(t)
	client, server := b.dial()
	b.pass(client, server, "question")
	client.(*net.TCPConn).CloseWrite()
	if n, err := server.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("%d, %v; want the client's end", n, err)
	}
	b.pass(server, client, "answer")
}

// Both ends are told at once when the proxy ends.
func TestEndResets(t *testing.T) {
	b := newBed(t)
	client, server := b.dial()
	b.pass(client, server, "x")
	b.end()
	for _, c := range []net.Conn{client, server} {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%v, want ECONNRESET", err)
		}
	}
}

// A client whose server can't be had is turned away.
func TestNoServer(t *testing.T) {
	b := newBed(t)
	b.server.Close()
	client, err := net.Dial("tcp", b.at)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.SetDeadline(time.Now().Add(60 * time.Second))
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d, %v", n, err)
	}
}

// While the proxy holds, its servers may end: clients hear nothing of it. A client
// that ends ends its server's connection.
func TestHoldHidesTheEnd(t *testing.T) {
	b := newBed(t)
	client, server := b.dial()
	other, far := b.dial()
	b.pass(client, server, "16 bytes or more")
	b.proxy.Hold()
	server.Close()
	client.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := client.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d, %v; want nothing", n, err)
	}
	other.Close()
	if n, err := far.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d, %v; want the end", n, err)
	}
}

// A client that takes nothing does not keep the others from being told to wait.
func TestStuckClient(t *testing.T) {
	b := newBed(t)
	stuck, server := b.dial()
	b.pass(stuck, server, "x")
	server.SetWriteDeadline(time.Now().Add(time.Second))
	for {
		if _, err := server.Write(make([]byte, 1<<20)); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	b.proxy.Hold()
	waits, _ := b.dial()
	if _, err := waits.Write([]byte("2W\x00\x00\x00\x01")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(ackOf0))
	if _, err := io.ReadFull(waits, got); err != nil || string(got) != string(ackOf0) {
		t.Errorf("%q, %v; want ACK 0", got, err)
	}
}

// A reset passes through as one: the end of a stream would say that it is whole.
func TestResetPasses(t *testing.T) {
	b := newBed(t)
	for name, way := range map[string]func(client, server net.Conn) (gone, told net.Conn){
		"client": func(client, server net.Conn) (net.Conn, net.Conn) { return client, server },
		"server": func(client, server net.Conn) (net.Conn, net.Conn) { return server, client },
	} {
		client, server := b.dial()
		b.pass(client, server, "question")
		b.pass(server, client, "half an ans")
		gone, told := way(client, server)
		reset(gone.(*net.TCPConn))
		if _, err := told.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after a reset of the %s: %v, want ECONNRESET", name, err)
		}
	}
}

// However busy the port is, every connection is passed on.
func TestMany(t *testing.T) {
	b := newBed(t)
	for range 500 {
		client, server := b.dial()
		b.pass(client, server, "x")
	}
}

// failing tells of the errors of a listener.
type failing struct {
	net.Listener
	with chan error
}

func (l failing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		select {
		case l.with <- err:
		default:
		}
	}
	return c, err
}

// A lack of descriptors passes; who came meanwhile is served then.
func TestShortOfDescriptors(t *testing.T) {
	b := newBed(t)
	real, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := failing{real, make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.proxy.Serve(ctx, l) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	none := net.Dialer{Control: func(_, _ string, _ syscall.RawConn) error {
		return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 0, Max: was.Max})
	}}
	client, err := none.Dial("tcp", real.Addr().String())
	failed := <-l.with
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err != nil || !errors.Is(failed, syscall.EMFILE) {
		t.Fatalf("%v, accept: %v", err, failed)
	}
	defer client.Close()
	server, err := b.server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	server.SetDeadline(time.Now().Add(60 * time.Second))
	b.pass(client, server, "x")
}
