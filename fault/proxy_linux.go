package fault

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
	"halfopen/proxy"
)

// throughProxy is a proxy of this process at work in a namespace.
type throughProxy struct {
	*proxy.Proxy
	port uint16
	stop context.CancelFunc
	done chan error
}

// openProxy listens on a free port, of IPv6 too where the namespace has it. Whoever
// connects without having been led there is turned away.
func openProxy(ns *netns.NS, ports flow.Ports) (*throughProxy, error) {
	ctx, stop := context.WithCancel(context.Background())
	t := &throughProxy{stop: stop, done: make(chan error, 1)}
	var l net.Listener
	err := ns.Do(func() (err error) {
		l, err = listenBoth()
		return err
	})
	if err != nil {
		stop()
		return nil, fmt.Errorf("listen for connections that are led here: %w", err)
	}
	t.port = uint16(l.Addr().(*net.TCPAddr).Port)
	t.Proxy = &proxy.Proxy{Log: io.Discard, Dial: func(ctx context.Context, client *net.TCPConn) (server *net.TCPConn, err error) {
		to, err := proxy.Original(client)
		if err != nil {
			return nil, err
		}
		if !ports.Has(to.Port()) {
			return nil, fmt.Errorf("%s came to %s by itself", client.RemoteAddr(), to)
		}
		err = ns.Do(func() (err error) {
			server, err = dialMarked(ctx, to)
			return err
		})
		return server, err
	}}
	go func() { t.done <- t.Serve(ctx, l) }()
	return t, nil
}

// listenBoth takes IPv4 and IPv6 on one socket. The net package asks the program's
// own namespace which of them there are.
func listenBoth() (net.Listener, error) {
	both := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if ctl := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) }); ctl != nil {
			return ctl
		}
		return err
	}}
	both.SetMultipathTCP(false) // a socket of MPTCP can't be asked where its client meant to go
	l, err := both.Listen(context.Background(), "tcp6", "[::]:0")
	if err != nil {
		var four net.ListenConfig
		four.SetMultipathTCP(false)
		return four.Listen(context.Background(), "tcp4", ":0")
	}
	return l, nil
}

func dialMarked(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	c, err := (&net.Dialer{Control: proxy.Marked(proxyMark)}).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// close resets the connections that pass through.
func (t *throughProxy) close() error {
	if t == nil {
		return nil
	}
	t.stop()
	return <-t.done
}

// Redirect leads new connections to the ports through the proxy, for a method that
// has one: its first step, in which nothing is met yet. Connections of before go on
// as they are.
func (f *Fault) Redirect() (Step, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.undone || len(f.steps) > 0 || f.proxy == nil {
		return Step{}, fmt.Errorf("lead connections through the proxy: %w", ErrOrder)
	}
	return f.take(StepProxy, f.plan.redirects(StepProxy), nil)
}

// Proxied is the state of the proxy; ok is false for a method without one.
func (f *Fault) Proxied() (state proxy.State, ok bool) {
	if f.proxy == nil {
		return state, false
	}
	return f.proxy.State(), true
}
