package shipper

import (
	"context"
	"fmt"
	"net"
	"time"

	lumber "github.com/elastic/go-lumber/client/v2"
)

const (
	bulkMaxSize      = 2048 // output.logstash.bulk_max_size, events
	compressionLevel = 3    // output.logstash.compression_level

	// flushEvery is the least time between two batches that are not full. Filebeat waits up to a second
	// (queue.mem.flush.timeout) for a batch to fill; a tenth gives a log of some lines a second a steady run of
	// small batches, and so an ACK often enough to see to a tenth of a second when they stop.
	flushEvery = 100 * time.Millisecond
)

// output carries batches from the queue to the receiver, as libbeat's netClientWorker with the asynchronous
// Logstash client does.
type output struct {
	cfg     Config
	log     *logger
	queue   *queue
	stats   *outputStats
	backoff backoff
	fresh   chan *batch
	retry   retryQueue

	client *lumber.AsyncClient // nil: not connected
	unhook func() bool         // takes the connection off ctx
}

func newOutput(cfg Config, log *logger, q *queue, stats *outputStats) *output {
	return &output{
		cfg: cfg, log: log, queue: q, stats: stats,
		backoff: newBackoff(),
		fresh:   make(chan *batch),
		retry:   retryQueue{ready: make(chan struct{}, 1)},
	}
}

func (o *output) String() string { return "backoff(async(tcp://" + o.cfg.Receiver + "))" }

// makeBatches hands the queue's events to run until ctx is done.
func (o *output) makeBatches(ctx context.Context) {
	for {
		b := o.queue.next(ctx, bulkMaxSize)
		if b == nil {
			return
		}
		select {
		case o.fresh <- b:
		case <-ctx.Done():
			return
		}
		if b.size < bulkMaxSize {
			sleep(ctx, flushEvery)
		}
	}
}

// run publishes until ctx is done; then it drops the connection at once, as Filebeat without shutdown_timeout.
func (o *output) run(ctx context.Context) {
	defer o.disconnect()
	for attempts := 0; ; {
		b := o.next(ctx)
		if b == nil {
			return
		}
		if o.client != nil {
			if err := o.publish(ctx, b); err != nil {
				o.disconnect()
				if !sleep(ctx, o.backoff.next()) {
					return
				}
				o.log.error(siteNotPublished, "failed to publish events: %v", err)
			} else {
				o.backoff.reset()
			}
			continue
		}
		o.retry.push(b)
		if attempts == 0 {
			o.log.info(siteConnecting, "Connecting to %v", o)
		} else {
			o.log.info(siteReconnecting, "Attempting to reconnect to %v with %d reconnect attempt(s)", o, attempts)
		}
		if err := o.connect(ctx); err != nil {
			attempts++
			if !sleep(ctx, o.backoff.next()) {
				return
			}
			o.log.error(siteNoConnection, "Failed to connect to %v: %v", o, err)
		} else {
			attempts = 0
			o.backoff.reset()
			o.log.info(siteEstablished, "Connection to %v established", o)
		}
	}
}

// next returns the batch to publish, those that failed before fresh ones; nil once ctx is done.
func (o *output) next(ctx context.Context) *batch {
	for ctx.Err() == nil {
		if b := o.retry.pop(); b != nil {
			// Filebeat counts every batch that comes back, also one that only waited for the first connection.
			o.stats.add(func(s *outputCounters) { s.retry += len(b.events) })
			return b
		}
		select {
		case <-o.retry.ready:
		case b := <-o.fresh:
			return b
		case <-ctx.Done():
		}
	}
	return nil
}

func (o *output) connect(ctx context.Context) error {
	dialer := net.Dialer{Timeout: o.cfg.Timeout}
	if o.cfg.NoKeepalive {
		dialer.KeepAlive = -1
	}
	nc, err := dialer.DialContext(ctx, "tcp", o.cfg.Receiver)
	if err != nil {
		return err
	}
	c := &conn{Conn: nc, stats: o.stats}
	// libbeat passes pipelining-1; one batch more is held by Send, which blocks until there is room for it.
	o.client, err = lumber.NewAsyncClientWithConn(c, o.cfg.Pipelining-1,
		lumber.Timeout(o.cfg.Timeout), lumber.CompressionLevel(compressionLevel))
	if err != nil {
		c.Close()
		return fmt.Errorf("make Lumberjack client: %w", err)
	}
	// A Send that waits for an ACK ends when the connection does.
	o.unhook = context.AfterFunc(ctx, func() { c.Close() })
	return nil
}

// disconnect may only be called between calls of publish: go-lumber panics when it is closed during a Send.
func (o *output) disconnect() {
	if o.client != nil {
		o.unhook()
		o.client.Close()
		o.client = nil
	}
}

// publish sends a batch; it blocks while the receiver owes too many ACKs. Without an error the batch may still
// fail, when it is not acknowledged; either way it then comes back through retry.
func (o *output) publish(ctx context.Context, b *batch) error {
	window := make([]any, len(b.events))
	for i, e := range b.events {
		window[i] = e
	}
	o.stats.add(func(s *outputCounters) {
		s.batches++
		s.total += len(window)
	})
	return o.client.Send(func(seq uint32, err error) { o.complete(ctx, b, int(seq), err) }, window)
}

// complete is called once a published batch, of which the first n events are acknowledged, is acknowledged or failed.
func (o *output) complete(ctx context.Context, b *batch, n int, err error) {
	b.events = b.events[n:]
	o.stats.add(func(s *outputCounters) {
		s.acked += n
		s.failed += len(b.events)
	})
	if len(b.events) == 0 {
		o.queue.ack(b)
		return
	}
	if ctx.Err() == nil { // else it is we who closed the connection
		o.log.error(siteLogstash, "Failed to publish events caused by: %v", err)
	}
	o.retry.push(b)
}
