package shipper

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"halfopen/lab/receiver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(suite{m}) }

// suite leaves no connection of the tests' own requests.
type suite struct{ *testing.M }

func (s suite) Run() int {
	defer http.DefaultClient.CloseIdleConnections()
	return s.M.Run()
}

// party is a shipper or a receiver under test.
type party struct {
	addr, stats string
	out         *stdout
	stop        func() // returns when nothing is left of it
}

// run starts a party that ends with the test, if it is not stopped before.
func run(t *testing.T, start func(ctx context.Context, out *stdout, ready chan<- party) error) *party {
	t.Helper()
	out := &stdout{}
	ready, done := make(chan party, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- start(ctx, out, ready) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("its output:\n%s", out)
		}
	})
	select {
	case p := <-ready:
		p.out, p.stop = out, stop
		return &p
	case err := <-done:
		done <- nil
		t.Fatalf("Run: %v", err)
		return nil
	}
}

// free is a free port of an address that no other program of this host dials from or listens on, so that it is
// still free when a test comes back to it.
const free = "127.0.0.2:0"

// startReceiver starts a real receiver; addr "" is a free one.
func startReceiver(t *testing.T, addr string) *party {
	t.Helper()
	if addr == "" {
		addr = free
	}
	return run(t, func(ctx context.Context, out *stdout, ready chan<- party) error {
		return receiver.Run(ctx, receiver.Config{
			Listen: addr, Stats: "127.0.0.1:0", ClientTimeout: time.Minute, Shape: "7.17",
			Ready: func(listen, stats net.Addr) { ready <- party{addr: listen.String(), stats: stats.String()} },
		}, out)
	})
}

// startShipper fills in what cfg leaves out, but not Timeout, whose 0 means something.
func startShipper(t *testing.T, cfg Config) *party {
	t.Helper()
	cfg.Stats = "127.0.0.1:0"
	if cfg.Pipelining == 0 {
		cfg.Pipelining = 2
	}
	if cfg.Queue == 0 {
		cfg.Queue = 4096
	}
	if cfg.Shape == "" {
		cfg.Shape = "7.17"
	}
	return run(t, func(ctx context.Context, out *stdout, ready chan<- party) error {
		cfg.Ready = func(stats net.Addr) { ready <- party{stats: stats.String()} }
		return Run(ctx, cfg, out)
	})
}

func (p *party) get(t *testing.T, path string) map[string]any {
	t.Helper()
	resp, err := http.Get("http://" + p.stats + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatalf("decode %s: %v", path, err)
	}
	return flatten("", body)
}

// flatten turns {"a":{"b":1}} into {"a.b":1}.
func flatten(prefix string, body map[string]any) map[string]any {
	flat := map[string]any{}
	for k, v := range body {
		if m, ok := v.(map[string]any); ok {
			for k, v := range flatten(prefix+k+".", m) {
				flat[k] = v
			}
			continue
		}
		flat[prefix+k] = v
	}
	return flat
}

// counters are the figures of one reading of /stats that tests speak of.
type counters struct {
	total, acked, active, failed, batches     int // libbeat.output.events
	writeErrors, readErrors, readBytes        int // libbeat.output
	pending, published, retry, left, capacity int // libbeat.pipeline
}

func (p *party) counters(t *testing.T) counters {
	t.Helper()
	body := p.get(t, "/stats")
	n := func(key string) int {
		v, ok := body["libbeat."+key].(float64)
		if !ok {
			t.Fatalf("/stats has no number libbeat.%s", key)
		}
		return int(v)
	}
	return counters{
		total: n("output.events.total"), acked: n("output.events.acked"), active: n("output.events.active"),
		failed: n("output.events.failed"), batches: n("output.events.batches"),
		writeErrors: n("output.write.errors"), readErrors: n("output.read.errors"), readBytes: n("output.read.bytes"),
		pending: n("pipeline.events.active"), published: n("pipeline.events.published"), retry: n("pipeline.events.retry"),
		left: n("pipeline.queue.acked"), capacity: n("pipeline.queue.max_events"),
	}
}

// inputLog is a log that grows.
type inputLog struct {
	t    *testing.T
	path string
	n    int
}

func newLog(t *testing.T) *inputLog {
	return &inputLog{t: t, path: filepath.Join(t.TempDir(), "app.log")}
}

func message(i int) string { return fmt.Sprintf("line %06d", i) }

// write appends n numbered lines.
func (l *inputLog) write(n int) {
	l.t.Helper()
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	var text strings.Builder
	for range n {
		text.WriteString(message(l.n) + "\n")
		l.n++
	}
	if _, err := io.WriteString(f, text.String()); err != nil {
		l.t.Fatal(err)
	}
}

// arrived returns the messages that receivers printed, in order.
func arrived(receivers ...*party) (messages []string) {
	for _, r := range receivers {
		for line := range strings.Lines(r.out.String()) {
			if fields := strings.SplitN(line, " ", 3); !strings.HasPrefix(line, "[") && len(fields) == 3 {
				messages = append(messages, strings.TrimSuffix(fields[2], "\n"))
			}
		}
	}
	return messages
}

// checkAll fails unless every line of the log arrived; it returns how many arrived more than once.
func (l *inputLog) checkAll(receivers ...*party) (duplicates int) {
	l.t.Helper()
	seen := map[string]int{}
	for _, m := range arrived(receivers...) {
		seen[m]++
	}
	for i := range l.n {
		if seen[message(i)] == 0 {
			l.t.Errorf("%q never arrived", message(i))
		}
		duplicates += max(0, seen[message(i)]-1)
	}
	return duplicates
}

// peer is a receiver's address behind which a test does what it likes.
type peer struct {
	net.Listener
	conns chan net.Conn
}

// newPeer accepts connections and, unless the test takes them from conns, leaves them alone.
func newPeer(t *testing.T) *peer {
	t.Helper()
	l, err := net.Listen("tcp", free)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{Listener: l, conns: make(chan net.Conn, 100)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.conns <- c
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
		for len(p.conns) > 0 {
			(<-p.conns).Close()
		}
	})
	return p
}

func (p *peer) addr() string { return p.Addr().String() }

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(60 * time.Second); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// stdout is one to look into.
type stdout struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *stdout) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *stdout) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *stdout) has(text string) bool { return strings.Contains(o.String(), text) }
