package receiver

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// input is the listening socket of the Beats input. go-lumber keeps its connections to itself, and waits for
// the next batch without any deadline, so both counting and client_inactivity_timeout are done here.
type input struct {
	net.Listener
	timeout time.Duration
	stats   *stats
	out     *console
}

func (in *input) Accept() (net.Conn, error) {
	nc, err := in.Listener.Accept()
	if err != nil {
		return nil, err
	}
	// The Beats input sets SO_LINGER 0 (Server.java, childOption): it never closes with FIN, always with RST.
	if err := nc.(*net.TCPConn).SetLinger(0); err != nil {
		in.out.log("WARN", "org.logstash.beats.Server", "set SO_LINGER: %v", err)
	}
	c := &conn{Conn: nc, in: in}
	if in.timeout > 0 {
		c.idle = time.AfterFunc(in.timeout, func() {
			c.close("DEBUG", "org.logstash.beats.ConnectionHandler", "reader and writer are idle, closing remote connection")
		})
	}
	in.stats.connected()
	c.log("TRACE", "org.logstash.beats.BeatsHandler", "Channel Active")
	return c, nil
}

// conn is one client's connection, counted until it is closed.
type conn struct {
	net.Conn
	in   *input
	idle *time.Timer // nil: never
	once sync.Once
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.moved(n)
	switch {
	case err == nil, errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF):
	case errors.Is(err, syscall.ECONNRESET):
		c.close("INFO", "org.logstash.beats.BeatsHandler", "closing (Connection reset by peer)")
	default:
		c.close("INFO", "org.logstash.beats.BeatsHandler", "Handling exception: "+err.Error())
	}
	return n, err
}

// Write closes the connection when it fails: go-lumber's own answer to a failed ACK is to read on for ever
// without acknowledging anything.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.moved(n)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		c.close("INFO", "org.logstash.beats.BeatsHandler", "Handling exception: "+err.Error())
	}
	return n, err
}

func (c *conn) Close() error {
	c.close("TRACE", "org.logstash.beats.BeatsHandler", "Channel Inactive")
	return nil
}

// moved puts off the inactivity timeout, which either direction does (Netty's ALL_IDLE), a keepalive ACK too.
func (c *conn) moved(n int) {
	if n > 0 && c.idle != nil {
		c.idle.Reset(c.in.timeout)
	}
}

// close is what all ways to end the connection come to; only the first one's reason is logged.
func (c *conn) close(level, class, why string) {
	c.once.Do(func() {
		c.Conn.Close()
		c.in.stats.disconnected()
		c.log(level, class, why)
	})
}

func (c *conn) log(level, class, message string) {
	c.in.out.log(level, class, "[local: %s, remote: %s] %s", c.LocalAddr(), c.RemoteAddr(), message)
}
