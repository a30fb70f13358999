package receiver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	lumberlog "github.com/elastic/go-lumber/log"
	server "github.com/elastic/go-lumber/server/v2"
)

const (
	// keepalive is how often a client whose batch is not yet printed is sent ACK 0
	// (IDLESTATE_WRITER_IDLE_TIME_SECONDS of the Beats input).
	keepalive = 5 * time.Second
	// go-lumber's Timeout ends a batch that stops half way and an ACK that can't be written, but never the wait
	// for a batch. The input's own timeout covers all three, so this one is put out of the way.
	batchTimeout = 24 * time.Hour
)

// go-lumber's server logs to one logger for the whole process, by default on stderr. What matters of it is
// logged by the input, with the addresses.
func init() { lumberlog.Logger = silent{} }

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}
func (silent) Print(...any)          {}

// Run receives until the context is cancelled, which is no error, or stdout can't be written.
// While stdout blocks, nothing is acknowledged and clients are kept waiting with ACK 0, as by a Logstash whose
// pipeline is blocked.
func Run(ctx context.Context, cfg Config, stdout io.Writer) error {
	out := &console{w: stdout}
	st := newStats(versions[cfg.Shape])

	api, err := net.Listen("tcp", cfg.Stats)
	if err != nil {
		return fmt.Errorf("listen for the HTTP API: %w", err)
	}
	defer st.serve(api).Close()

	// The Beats input leaves SO_KEEPALIVE off, Go's default is on.
	config := net.ListenConfig{KeepAlive: -1}
	l, err := config.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for Beats: %w", err)
	}
	in := &input{Listener: l, timeout: cfg.ClientTimeout, stats: st, out: out}
	srv, err := server.NewWithListener(in, server.Keepalive(keepalive), server.Timeout(batchTimeout))
	if err != nil {
		l.Close()
		return fmt.Errorf("start Lumberjack server: %w", err)
	}
	defer srv.Close()

	out.log("INFO", "logstash.inputs.beats", "Starting input listener {:address=>%q}", l.Addr())
	if cfg.Ready != nil {
		cfg.Ready(l.Addr(), api.Addr())
	}
	for {
		select {
		case <-ctx.Done():
			out.log("INFO", "logstash.runner", "Logstash shut down.")
			return nil
		case batch := <-srv.ReceiveChan():
			st.received(len(batch.Events))
			start := time.Now()
			if err := out.events(batch.Events); err != nil {
				return fmt.Errorf("print events: %w", err)
			}
			st.printed(len(batch.Events), time.Since(start))
			batch.ACK()
		}
	}
}

// console is stdout, shared by the events and Logstash's own log.
type console struct {
	mu sync.Mutex
	w  io.Writer
}

// log writes a line in the layout of Logstash's log4j2.properties. A log that can't be written is no reason to stop.
func (c *console) log(level, class, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.w, "[%s][%-5s][%-25s][main] %s\n",
		time.Now().UTC().Format("2006-01-02T15:04:05,000"), level, class, fmt.Sprintf(format, args...))
}

// events prints a batch as the stdout output's line codec does: timestamp, host and message, a line each.
func (c *console) events(events []any) error {
	var b bytes.Buffer
	for _, e := range events {
		b.WriteString(line(e))
		b.WriteByte('\n')
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.w.Write(b.Bytes())
	return err
}

// line renders any JSON value a client may send. As in Logstash, an event without @timestamp gets the present time.
func line(event any) string {
	fields, _ := event.(map[string]any)
	stamp, ok := fields["@timestamp"].(string)
	if !ok {
		stamp = time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	}
	host := fields["host"]
	if h, ok := host.(map[string]any); ok {
		host = h["name"]
	}
	return oneLine.Replace(fmt.Sprintf("%s %v %v", stamp, orDash(host), orDash(fields["message"])))
}

var oneLine = strings.NewReplacer("\n", `\n`, "\r", `\r`)

func orDash(v any) any {
	if v == nil {
		return "-"
	}
	return v
}
