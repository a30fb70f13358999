// Package proxy passes TCP connections on at layer 4, as socat or a load balancer
// does: it ends the client's connection itself and makes one of its own to the
// server, so what the client sends is acknowledged here, whatever becomes of it
// behind.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Proxy passes on what clients send and are sent, until it is told to hold.
type Proxy struct {
	// Dial makes the connection to a client's server.
	Dial func(ctx context.Context, client *net.TCPConn) (*net.TCPConn, error)
	// Log is told of each connection.
	Log io.Writer

	holding      atomic.Bool
	acks         atomic.Uint64
	toward, from atomic.Uint64 // bytes withheld

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// most is how many connections are passed on at once, at 32 KiB each; others wait to be
// accepted.
const most = 2048

// retryAccept is how soon a client is accepted after descriptors or memory were short.
const retryAccept = 50 * time.Millisecond

// Serve accepts clients until ctx ends. Connections that are open then are reset.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var all sync.WaitGroup
	defer all.Wait()
	life, stop := context.WithCancel(ctx) // ends with an error of the listener too
	defer stop()
	all.Go(func() { p.keepWaiting(life) })
	room := make(chan struct{}, most)
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		client, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				client.Close()
			}
			return nil
		case short(err): // others are carried on, and may end
			<-room
			time.Sleep(retryAccept)
			continue
		case err != nil:
			return fmt.Errorf("accept a client: %w", err)
		}
		all.Go(func() {
			defer func() { <-room }()
			p.carry(life, &conn{proxy: p, client: client.(*net.TCPConn)})
		})
	}
}

// short are the errors of accept(2) that pass by themselves.
func short(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}, func(e error) bool { return errors.Is(err, e) })
}

// carry passes one connection on. Its log is told in words of its own: those of an
// error, "connection reset by peer" say, are what others look for in a shipper's.
func (p *Proxy) carry(ctx context.Context, c *conn) {
	p.know(c, true)
	defer p.know(c, false)
	defer c.client.Close()
	who := c.client.RemoteAddr()
	server, err := p.Dial(ctx, c.client)
	if err != nil {
		fmt.Fprintf(p.Log, "%s waited in vain for its server\n", who)
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { reset(c.client); reset(server) })()
	fmt.Fprintf(p.Log, "%s is %s at %s\n", who, server.LocalAddr(), server.RemoteAddr())
	var ways sync.WaitGroup
	ways.Go(func() { c.passToward(ctx, server) })
	ways.Go(func() { c.passBack(ctx, server) })
	ways.Wait()
	fmt.Fprintf(p.Log, "%s has ended\n", who)
}

func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

func (p *Proxy) know(c *conn, here bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		p.conns = map[*conn]struct{}{}
	}
	if delete(p.conns, c); here {
		p.conns[c] = struct{}{}
	}
}

func (p *Proxy) list() (conns []*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		conns = append(conns, c)
	}
	return conns
}

// State is what a proxy has, and what it has done.
type State struct {
	Connections int // that are open
	Carried     int // of those, with data both ways
	Mute        int // of those, in which no ACK can be told: TLS, or not Lumberjack v2

	Acks         uint64 // ACKs of sequence 0 that it told while it held
	Toward, From uint64 // bytes that it withheld, to servers and from them
}

// State reads the state.
func (p *Proxy) State() State {
	s := State{Acks: p.acks.Load(), Toward: p.toward.Load(), From: p.from.Load()}
	for _, c := range p.list() {
		s.Connections++
		if c.back.Load() > 0 { // and so it had something to answer
			s.Carried++
			if !c.lumberjack() {
				s.Mute++
			}
		}
	}
	return s
}
