package shipper

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// errNotConnected is what a closed connection answers (libbeat/common/transport, ErrNotConnected).
var errNotConnected = errors.New("client is not connected")

// outputStats are the counters of libbeat/outputs/metrics.go, since the start.
type outputStats struct {
	mu sync.Mutex
	outputCounters
}

type outputCounters struct {
	batches, total, acked, failed, retry           int // retry: events handed to the client again
	writeBytes, writeErrors, readBytes, readErrors int
}

// active is how many events are sent and neither acknowledged nor failed.
func (c outputCounters) active() int { return c.total - c.acked - c.failed }

func (s *outputStats) add(change func(*outputCounters)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.outputCounters)
}

func (s *outputStats) counters() outputCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outputCounters
}

// conn is a connection to the receiver that counts what passes. It is libbeat's transport.Client over its
// statsConn: an error other than a timeout closes it, and what is called after that never reaches the socket.
type conn struct {
	net.Conn
	stats  *outputStats
	closed atomic.Bool
}

func (c *conn) Read(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, errNotConnected
	}
	n, err := c.Conn.Read(b)
	c.stats.add(func(s *outputCounters) {
		s.readBytes += n
		s.readErrors += counted(err)
	})
	return n, c.check(err)
}

func (c *conn) Write(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, errNotConnected
	}
	n, err := c.Conn.Write(b)
	c.stats.add(func(s *outputCounters) {
		s.writeBytes += n
		s.writeErrors += counted(err)
	})
	return n, c.check(err)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	if c.closed.Load() {
		return errNotConnected
	}
	return c.check(c.Conn.SetReadDeadline(t))
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	if c.closed.Load() {
		return errNotConnected
	}
	return c.check(c.Conn.SetWriteDeadline(t))
}

func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.Conn.Close()
}

func (c *conn) check(err error) error {
	var timeout net.Error
	if err != nil && !(errors.As(err, &timeout) && timeout.Timeout()) {
		c.Close()
	}
	return err
}

// counted is 1 for an error that Filebeat counts: the peer's orderly close is none.
func counted(err error) int {
	if err == nil || errors.Is(err, io.EOF) {
		return 0
	}
	return 1
}
