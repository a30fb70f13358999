package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/elastic/go-lumber/lj"
	"github.com/elastic/go-lumber/log"
	lumber "github.com/elastic/go-lumber/server/v2"
)

// shipper is a running Filebeat that follows app.log in dir.
type shipper struct {
	dir   string
	stats *http.Client
}

const config = `
filebeat.inputs:
- type: log
  paths: [%[1]s/app.log]
  scan_frequency: 1s
output.logstash:
  hosts: ["%[2]s"]
  timeout: 10s
  pipelining: 2
http.enabled: true
http.host: unix://%[1]s/stats.sock
path.home: %[1]s
`

// stats is the part of /stats that the test looks at (libbeat/outputs/metrics.go).
type stats struct {
	Libbeat struct {
		Output struct {
			Events struct {
				Acked  int `json:"acked"`
				Active int `json:"active"`
			} `json:"events"`
			Read struct {
				Errors int `json:"errors"`
			} `json:"read"`
		} `json:"output"`
	} `json:"libbeat"`
}

// A receiver that falls silent, and a Filebeat that gives up on it after
// output.logstash.timeout: what was built is the real thing.
func TestFilebeat(t *testing.T) {
	path := binary(t, filebeat)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	batches := receive(t, listener)
	s := start(t, path, listener.Addr().String())
	if len(running(t)) != 1 {
		t.Errorf("running processes of ours: %q, want Filebeat alone", running(t))
	}

	s.write(t, 20)
	ack(t, batches, 20)
	await(t, "20 events acked in /stats", func() bool { return s.read(t).Libbeat.Output.Events.Acked == 20 })

	var root struct {
		Beat    string `json:"beat"`
		Version string `json:"version"`
	}
	decode(t, s.get(t, "/"), &root)
	if root.Beat != "filebeat" || root.Version != "7.17.29" {
		t.Errorf("/ says %+v, want filebeat 7.17.29", root)
	}

	s.write(t, 10)
	next(t, batches) // and no word back
	await(t, "10 events in flight", func() bool { return s.read(t).Libbeat.Output.Events.Active == 10 })
	await(t, "i/o timeout in the log", func() bool { return bytes.Contains(s.log(t), []byte("i/o timeout")) })
	ack(t, batches, 10)
	await(t, "all 30 events acked in /stats", func() bool { return s.read(t).Libbeat.Output.Events.Acked == 30 })
	if n := s.read(t).Libbeat.Output.Read.Errors; n != 1 {
		t.Errorf("read.errors = %d, want 1", n)
	}
	if *fixtures != "" {
		s.keep(t, *fixtures, listener.Addr().String())
	}
}

// receive serves Lumberjack v2 and hands out the batches. It sends no ACK 0
// meanwhile, which would keep a waiting client waiting.
func receive(t *testing.T, l net.Listener) <-chan *lj.Batch {
	t.Helper()
	log.Logger = silent{}
	server, err := lumber.NewWithListener(l, lumber.Keepalive(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server.ReceiveChan()
}

// silent takes what go-lumber says to its global logger.
type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}
func (silent) Print(...any)          {}

func next(t *testing.T, batches <-chan *lj.Batch) *lj.Batch {
	t.Helper()
	select {
	case b := <-batches:
		return b
	case <-time.After(time.Minute):
		t.Fatal("no batch in a minute")
		return nil
	}
}

// ack acknowledges batches of n events altogether.
func ack(t *testing.T, batches <-chan *lj.Batch, n int) {
	t.Helper()
	for n > 0 {
		b := next(t, batches)
		b.ACK()
		n -= len(b.Events)
	}
}

// start runs Filebeat until the test ends.
func start(t *testing.T, path, receiver string) *shipper {
	t.Helper()
	s := &shipper{dir: t.TempDir()}
	s.stats = &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "stats.sock"))
		},
	}}
	conf := filepath.Join(s.dir, "filebeat.yml")
	if err := os.WriteFile(conf, fmt.Appendf(nil, config, s.dir, receiver), 0o600); err != nil {
		t.Fatal(err)
	}
	logfile, err := os.Create(filepath.Join(s.dir, "filebeat.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logfile.Close()
	cmd := exec.Command(path, "-e", "-c", conf)
	cmd.Stderr = logfile
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("filebeat: %v", err)
		}
		if t.Failed() {
			t.Logf("filebeat's log:\n%s", s.log(t))
		}
	})
	await(t, "filebeat answers on its stats socket", func() bool {
		resp, err := s.stats.Get("http://filebeat/")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	return s
}

// write appends n lines to the followed log.
func (s *shipper) write(t *testing.T, n int) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "app.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []byte // at once, so that they become one batch
	for i := range n {
		lines = fmt.Appendf(lines, "line %d of %d\n", i+1, n)
	}
	if _, err := f.Write(lines); err != nil {
		t.Fatal(err)
	}
}

func (s *shipper) log(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "filebeat.log"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (s *shipper) get(t *testing.T, path string) []byte {
	t.Helper()
	resp, err := s.stats.Get("http://filebeat" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (s *shipper) read(t *testing.T) (st stats) {
	t.Helper()
	decode(t, s.get(t, "/stats"), &st)
	return st
}

func decode(t *testing.T, body []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(body, v); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
}
