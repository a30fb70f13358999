package receiver

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// stats are the figures behind Logstash's /_node/stats.
type stats struct {
	version string
	host    string
	started time.Time

	mu            sync.Mutex
	current, peak int           // connections
	in, out       int           // events received, events printed
	push          time.Duration // spent waiting for stdout
}

func newStats(version string) *stats {
	host, _ := os.Hostname()
	return &stats{version: version, host: host, started: time.Now()}
}

func (s *stats) connected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current++
	s.peak = max(s.peak, s.current)
}

func (s *stats) disconnected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current--
}

func (s *stats) received(events int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in += events
}

func (s *stats) printed(events int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out += events
	s.push += took
}

type object = map[string]any

// root is the body of GET /. build_sha says that this is no Logstash.
func (s *stats) root(address string) object {
	return object{
		"host": s.host, "name": s.host, "version": s.version, "http_address": address, "build_sha": "halfopen-lab",
	}
}

// node is the body of GET /_node/stats, with the keys we have figures for. There is no queue between input and
// output here, so an input's push lasts until stdout has taken the events.
func (s *stats) node(address string) object {
	s.mu.Lock()
	defer s.mu.Unlock()
	body := s.root(address)
	body["jvm"] = object{"uptime_in_millis": time.Since(s.started).Milliseconds()}
	push := s.push.Milliseconds()
	events := object{"in": s.in, "filtered": s.out, "out": s.out, "queue_push_duration_in_millis": push}
	body["events"] = events
	body["pipelines"] = object{"main": object{
		"events": events,
		"plugins": object{
			"inputs": []object{{
				"id": "beats", "name": "beats",
				"current_connections": s.current, "peak_connections": s.peak,
				"events": object{"out": s.in, "queue_push_duration_in_millis": push},
			}},
			"outputs": []object{{
				"id": "stdout", "name": "stdout",
				"events": object{"in": s.in, "out": s.out, "duration_in_millis": push},
			}},
		},
	}}
	return body
}

// serve answers on l until the returned server is closed.
func (s *stats) serve(l net.Listener) *http.Server {
	address := l.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { reply(w, s.root(address)) })
	mux.HandleFunc("GET /_node/stats", func(w http.ResponseWriter, r *http.Request) { reply(w, s.node(address)) })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(l)
	return srv
}

func reply(w http.ResponseWriter, body object) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(body)
}
