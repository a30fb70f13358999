package receiver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	lumber "github.com/elastic/go-lumber/client/v2"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(suite{m}) }

// suite leaves no connection of the tests' own requests.
type suite struct{ *testing.M }

func (s suite) Run() int {
	defer http.DefaultClient.CloseIdleConnections()
	return s.M.Run()
}

func TestPrintsThenAcknowledges(t *testing.T) {
	t.Parallel()
	out := &output{}
	r := start(t, Config{Listen: ":0", Shape: "7.17"}, out)
	_, port, _ := net.SplitHostPort(r.listen)

	var want []string
	for _, host := range []string{"127.0.0.1", "::1"} {
		c := dial(t, net.JoinHostPort(host, port))
		for i := range 3 {
			batch := []any{event(fmt.Sprintf("%s batch %d a", host, i)), event(fmt.Sprintf("%s batch %d b", host, i))}
			n, err := c.Send(batch)
			if n != 2 || err != nil {
				t.Fatalf("sent 2 events: %d acknowledged, %v", n, err)
			}
			for _, e := range batch {
				want = append(want, "2026-11-21T12:00:00.000Z web1 "+e.(object)["message"].(string))
			}
			// Acknowledged is printed, not: will be printed.
			if diff := cmp.Diff(want, printed(out)); diff != "" {
				t.Fatal(diff)
			}
		}
	}
}

func TestOneLineAnEvent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, event, want string }{
		{"filebeat", `{"@timestamp":"2026-11-21T12:00:00.000Z","host":{"name":"web1"},"message":"GET /"}`, `^2026-11-21T12:00:00.000Z web1 GET /$`},
		{"host as text", `{"@timestamp":"2026-11-21T12:00:00.000Z","host":"web1","message":"GET /"}`, `^2026-11-21T12:00:00.000Z web1 GET /$`},
		{"newlines", `{"@timestamp":"2026-11-21T12:00:00.000Z","host":"a","message":"x\r\ny"}`, `^2026-11-21T12:00:00.000Z a x\\r\\ny$`},
		{"no fields", `{}`, `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z - -$`},
		{"odd types", `{"@timestamp":1,"host":{"name":[1]},"message":{"a":1}}`, `^\d{4}-\S+Z \[1\] map\[a:1\]$`},
		{"no object", `[1]`, `^\S+Z - -$`},
	} {
		var e any
		if err := json.Unmarshal([]byte(tt.event), &e); err != nil {
			t.Fatal(err)
		}
		if got := line(e); !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("%s: %q does not match %q", tt.name, got, tt.want)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, seed := range []string{
		`{"@timestamp":"2026-11-21T12:00:00.000Z","host":{"name":"web1"},"message":"GET /"}`,
		`{"@timestamp":"\r\n","host":["\n"],"message":{"a\nb":"\r"}}`, `null`, `"x"`, `[{}]`, `{"host":{"name":null}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var e any
		if json.Unmarshal(text, &e) != nil {
			return
		}
		if got := line(e); strings.ContainsAny(got, "\r\n") || strings.Count(got, " ") < 2 {
			t.Errorf("%s is printed as %q", text, got)
		}
	})
}

func TestSilentClientIsClosed(t *testing.T) {
	t.Parallel()
	out := &output{}
	r := start(t, Config{ClientTimeout: 10 * time.Second, Shape: "7.17"}, out)

	conn, err := net.Dial("tcp", r.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c, err := lumber.NewSyncClientWithConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send([]any{event("one")}); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(60 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a silent client sees %v, want a reset", err)
	}
	want := fmt.Sprintf("[DEBUG][org.logstash.beats.ConnectionHandler][main] [local: %s, remote: %s] reader and writer are idle, closing remote connection",
		conn.RemoteAddr(), conn.LocalAddr())
	await(t, fmt.Sprintf("the connection to be counted off, and the line %q", want), func() bool {
		return r.number(t, "pipelines.main.plugins.inputs.0.current_connections") == 0 && strings.Contains(out.String(), want)
	})
	if peak := r.number(t, "pipelines.main.plugins.inputs.0.peak_connections"); peak != 1 {
		t.Errorf("peak_connections is %v, want 1", peak)
	}
}

func TestBlockedOutputKeepsClientsWaiting(t *testing.T) {
	t.Parallel()
	stdout, w := io.Pipe()
	gate := make(chan struct{})
	go func() {
		<-gate
		io.Copy(io.Discard, stdout)
	}()
	stop := make(chan struct{})
	r := start(t, Config{Shape: "7.17"}, &stopping{w: w, stop: stop})
	defer w.Close()

	conn, err := net.Dial("tcp", r.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c, err := lumber.NewWithConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send([]any{event("moves")}); err != nil {
		t.Fatal(err)
	}
	if n, err := c.AwaitACK(1); n != 1 || err != nil {
		t.Fatalf("the receiver answers ACK %d, %v; want ACK 1", n, err)
	}
	close(stop)
	if err := c.Send([]any{event("stuck")}); err != nil {
		t.Fatal(err)
	}
	if n, err := c.ReceiveACK(); n != 0 || err != nil {
		t.Errorf("while its output blocks the receiver answers ACK %d, %v; want ACK 0", n, err)
	}
	close(gate)
	if n, err := c.AwaitACK(1); n != 1 || err != nil {
		t.Errorf("once its output moves the receiver answers ACK %d, %v; want ACK 1", n, err)
	}
}

func TestBadPeersHarmNobodyElse(t *testing.T) {
	t.Parallel()
	r := start(t, Config{Shape: "7.17"}, &output{})
	for _, bytes := range []string{"", "GET / HTTP/1.1\r\n\r\n", "2W\x00\x00\x00\x02", "2W\x00\x00\x00\x012J\x00\x00\x00\x01\x00\x00\x00\x04nul}", "2W\x00\x00\x00\x012C\x00\x00\x00\x04zzzz"} {
		conn, err := net.Dial("tcp", r.listen)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, bytes)
		conn.Close()
	}
	if n, err := dial(t, r.listen).Send([]any{event("fine")}); n != 1 || err != nil {
		t.Errorf("after bad peers: %d acknowledged, %v", n, err)
	}
	await(t, "bad peers to be counted off", func() bool {
		return r.number(t, "pipelines.main.plugins.inputs.0.current_connections") == 1
	})
}

func TestStats(t *testing.T) {
	t.Parallel()
	for shape, version := range versions {
		r := start(t, Config{Shape: shape}, &output{})
		if _, err := dial(t, r.listen).Send([]any{event("a"), event("b")}); err != nil {
			t.Fatal(err)
		}
		root := r.get(t, "/")
		for key, want := range map[string]any{"version": version, "build_sha": "halfopen-lab", "http_address": r.stats} {
			if root[key] != want {
				t.Errorf("%s: / has %s %v, want %v", shape, key, root[key], want)
			}
		}
		for key, want := range map[string]float64{
			"pipelines.main.events.in": 2, "pipelines.main.events.filtered": 2, "pipelines.main.events.out": 2,
			"pipelines.main.plugins.inputs.0.events.out":          2,
			"pipelines.main.plugins.inputs.0.current_connections": 1,
			"pipelines.main.plugins.inputs.0.peak_connections":    1,
		} {
			if got := r.number(t, key); got != want {
				t.Errorf("%s: %s is %v, want %v", shape, key, got, want)
			}
		}
		r.number(t, "jvm.uptime_in_millis")
		r.number(t, "pipelines.main.plugins.inputs.0.events.queue_push_duration_in_millis")
	}
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	defaults := Config{Listen: ":5044", Stats: "127.0.0.1:9600", ClientTimeout: time.Minute, Shape: "7.17"}
	for _, tt := range []struct {
		env  map[string]string
		want Config
		err  string
	}{
		{env: nil, want: defaults},
		{env: map[string]string{"HALFOPEN_ROLE": "receiver", "HALFOPEN_LISTEN": "10.51.0.2:5045", "HALFOPEN_STATS": "[::1]:9601", "HALFOPEN_CLIENT_TIMEOUT": "0s", "HALFOPEN_STATS_SHAPE": "8.15"},
			want: Config{Listen: "10.51.0.2:5045", Stats: "[::1]:9601", Shape: "8.15"}},
		{env: map[string]string{"HALFOPEN_ROLE": "shipper"}, err: `HALFOPEN_ROLE "shipper"`},
		{env: map[string]string{"HALFOPEN_LISTEN": "5044"}, err: `HALFOPEN_LISTEN "5044"`},
		{env: map[string]string{"HALFOPEN_STATS": "x:y:z"}, err: `HALFOPEN_STATS "x:y:z"`},
		{env: map[string]string{"HALFOPEN_CLIENT_TIMEOUT": "60"}, err: `HALFOPEN_CLIENT_TIMEOUT "60"`},
		{env: map[string]string{"HALFOPEN_CLIENT_TIMEOUT": "-1s"}, err: `HALFOPEN_CLIENT_TIMEOUT "-1s"`},
		{env: map[string]string{"HALFOPEN_STATS_SHAPE": "9"}, err: `HALFOPEN_STATS_SHAPE "9"`},
	} {
		got, err := FromEnv(func(name string) string { return tt.env[name] })
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%v: error %v, want one with %s", tt.env, err, tt.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%v: %v", tt.env, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v: %s", tt.env, diff)
		}
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, cfg := range []Config{{Listen: l.Addr().String(), Stats: "127.0.0.1:0"}, {Listen: "127.0.0.1:0", Stats: l.Addr().String()}} {
		if err := Run(t.Context(), cfg, io.Discard); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%+v: %v, want an address in use", cfg, err)
		}
	}
}

// running is a receiver under test.
type running struct{ listen, stats string }

// start runs a receiver until the test ends. Addresses that cfg leaves out are free ones of the loopback.
func start(t *testing.T, cfg Config, stdout io.Writer) running {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	cfg.Stats = "127.0.0.1:0"
	ready, done := make(chan running, 1), make(chan error, 1)
	cfg.Ready = func(listen, stats net.Addr) { ready <- running{listen.String(), stats.String()} }
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- Run(ctx, cfg, stdout) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case r := <-ready:
		return r
	case err := <-done:
		done <- nil
		t.Fatalf("Run: %v", err)
		return running{}
	}
}

func (r running) get(t *testing.T, path string) map[string]any {
	t.Helper()
	resp, err := http.Get("http://" + r.stats + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := map[string]any{}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatalf("decode %s: %v", path, err)
	}
	return body
}

// number returns a figure of /_node/stats by its dotted path; 0 is the first element of a list.
func (r running) number(t *testing.T, path string) float64 {
	t.Helper()
	var at any = r.get(t, "/_node/stats")
	for name := range strings.SplitSeq(path, ".") {
		if list, ok := at.([]any); ok && name == "0" && len(list) > 0 {
			at = list[0]
			continue
		}
		m, _ := at.(map[string]any)
		at = m[name]
	}
	n, ok := at.(float64)
	if !ok {
		t.Fatalf("%s is %v, want a number", path, at)
	}
	return n
}

func dial(t *testing.T, addr string) *lumber.SyncClient {
	t.Helper()
	c, err := lumber.SyncDial(addr, lumber.CompressionLevel(3))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func event(message string) object {
	return object{"@timestamp": "2026-11-21T12:00:00.000Z", "host": object{"name": "web1"}, "message": message}
}

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

// printed returns the lines of out that are events.
func printed(out *output) (lines []string) {
	for l := range strings.Lines(out.String()) {
		if !strings.HasPrefix(l, "[") {
			lines = append(lines, strings.TrimSuffix(l, "\n"))
		}
	}
	return lines
}

// output is a stdout to look into.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// stopping discards what is written until stop is closed; then it writes to w.
type stopping struct {
	w    io.Writer
	stop chan struct{}
}

func (s *stopping) Write(p []byte) (int, error) {
	select {
	case <-s.stop:
		return s.w.Write(p)
	default:
		return len(p), nil
	}
}
