package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// Proxy passes connections on at layer 4, as socat or a load balancer does: it
// ends the client's connection itself and makes one of its own to the server, so
// what the client sends is acknowledged here, whatever becomes of it behind. It
// runs until ctx ends.
func Proxy(ctx context.Context, listen, to string, log io.Writer) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listen for clients: %w", err)
	}
	defer context.AfterFunc(ctx, func() { l.Close() })()
	fmt.Fprintf(log, "listening on %s for %s\n", l.Addr(), to)
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		client, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept a client: %w", err)
		}
		conns.Go(func() { pass(ctx, client, to, log) })
	}
}

// pass carries one connection. Its log is told in words of its own: those of an
// error, "connection reset by peer" say, are what others look for in a shipper's.
func pass(ctx context.Context, client net.Conn, to string, log io.Writer) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", to)
	if err != nil {
		fmt.Fprintf(log, "%s waited in vain for %s\n", client.RemoteAddr(), to)
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	fmt.Fprintf(log, "%s is %s at %s\n", client.RemoteAddr(), server.LocalAddr(), to)
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			io.Copy(way[1], way[0])
			way[1].(*net.TCPConn).CloseWrite() // the other way may go on
			done <- struct{}{}
		}()
	}
	<-done
	<-done
	fmt.Fprintf(log, "%s has ended\n", client.RemoteAddr())
}
