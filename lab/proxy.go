package lab

import (
	"context"
	"fmt"
	"io"
	"net"

	"halfopen/proxy"
)

// Proxy passes connections on at layer 4 until ctx ends.
func Proxy(ctx context.Context, listen, to string, log io.Writer) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	fmt.Fprintf(log, "listening on %s for %s\n", l.Addr(), to)
	p := &proxy.Proxy{Log: log, Dial: func(ctx context.Context, _ *net.TCPConn) (*net.TCPConn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
		if err != nil {
			return nil, err
		}
		return c.(*net.TCPConn), nil
	}}
	return p.Serve(ctx, l)
}
