package proxy

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a client's connection.
type conn struct {
	proxy  *Proxy
	client *net.TCPConn

	writing sync.Mutex    // to the client, which may take its time
	back    atomic.Uint64 // bytes that were passed back
	waiting atomic.Bool   // the client has sent something since

	mu      sync.Mutex
	opening []byte // what the client sent first, as much as tells the protocol
}

// buffer is how many bytes of a connection are under way in this process, each
// way.
const buffer = 16 << 10

// passToward passes on what the client sends. Who is reset resets the other end: what
// was cut short must not look like the whole.
func (c *conn) passToward(ctx context.Context, server *net.TCPConn) {
	buf := make([]byte, buffer)
	for {
		n, err := c.client.Read(buf)
		c.hear(buf[:n])
		if c.proxy.holding.Load() {
			c.proxy.toward.Add(uint64(n))
			if err != nil { // its server may be silent
				server.Close()
				return
			}
			continue
		}
		if n > 0 {
			if _, werr := server.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		switch {
		case err == nil:
		case ctx.Err() != nil: // it is reset
			return
		case err == io.EOF:
			server.CloseWrite() // the other way may go on
			return
		default:
			reset(server)
			return
		}
	}
}

// passBack passes on what the server sends. While the proxy holds, not even the end
// of the connection is.
func (c *conn) passBack(ctx context.Context, server *net.TCPConn) {
	buf := make([]byte, buffer)
	for {
		n, err := server.Read(buf)
		if werr := c.answer(buf[:n]); werr != nil {
			err = werr
		}
		if err != nil {
			switch {
			case c.proxy.holding.Load() || ctx.Err() != nil:
			case err == io.EOF:
				c.client.CloseWrite()
			default:
				reset(c.client)
			}
			return
		}
	}
}

func (c *conn) hear(sent []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(sent) > 0 {
		c.waiting.Store(true)
		c.opening = append(c.opening, sent[:min(len(sent), 2-len(c.opening))]...)
	}
}

// answer passes back what the server sent: while the proxy holds, no more than what
// completes a frame.
func (c *conn) answer(sent []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	pass := sent
	if c.proxy.holding.Load() {
		pass = sent[:min(len(sent), c.missing())]
		c.proxy.from.Add(uint64(len(sent) - len(pass)))
	}
	if len(pass) == 0 {
		return nil
	}
	n, err := c.client.Write(pass)
	c.back.Add(uint64(n))
	c.waiting.Store(false)
	return err
}

// Lumberjack v2 frames, https://github.com/elastic/go-lumber, protocol/v2: version
// and kind in a byte each. A client's is a window, JSON, data or compressed; a
// server's is an ACK of a four byte sequence number.
var (
	kinds  = []byte("WJDC")
	ackOf0 = []byte{'2', 'A', 0, 0, 0, 0}
)

// lumberjack reports whether the client speaks Lumberjack v2 in plain text.
func (c *conn) lumberjack() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.opening) == 2 && c.opening[0] == '2' && slices.Contains(kinds, c.opening[1])
}

// missing is how much of a frame the client has yet to get.
func (c *conn) missing() int {
	if whole := uint64(len(ackOf0)); c.lumberjack() {
		return int((whole - c.back.Load()%whole) % whole)
	}
	return 0
}

// Hold passes nothing on any more, either way. Clients that speak Lumberjack v2 and
// wait for an answer are told ACK 0 every 5 s instead, as by a Logstash whose
// outputs are blocked.
func (p *Proxy) Hold() { p.holding.Store(true) }

// waitingTick is how often a waiting client is told that its receiver is alive:
// Logstash's writer idle time (logstash-input-beats, Server.java).
const waitingTick = 5 * time.Second

// tellWithin is how long a client may take to take six bytes.
const tellWithin = time.Second

func (p *Proxy) keepWaiting(ctx context.Context) {
	tick := time.NewTicker(waitingTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !p.holding.Load() {
			continue
		}
		for _, c := range p.list() {
			c.ack0()
		}
	}
}

// ack0 tells the client to go on waiting, between two frames. One that does not take
// what is being passed back to it is left alone: others wait, too.
func (c *conn) ack0() {
	if !c.writing.TryLock() {
		return
	}
	defer c.writing.Unlock()
	if !c.waiting.Load() || !c.lumberjack() || c.missing() != 0 {
		return
	}
	c.client.SetWriteDeadline(time.Now().Add(tellWithin))
	if _, err := c.client.Write(ackOf0); err != nil {
		c.client.Close() // a frame cut short can't be mended
		return
	}
	c.client.SetWriteDeadline(time.Time{})
	c.proxy.acks.Add(1)
}
