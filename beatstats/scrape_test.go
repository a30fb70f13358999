package beatstats

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// service answers paths with bodies, all else with 404, and keeps what was
// asked of it.
type service struct {
	*httptest.Server
	mu    sync.Mutex
	pages map[string]string
	asked []string
}

func start(t *testing.T, pages map[string]string) *service {
	t.Helper()
	s := &service{pages: pages}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		body, ok := s.pages[r.URL.Path]
		s.asked = append(s.asked, r.URL.Path)
		s.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

// paths gives what was asked since the last call.
func (s *service) paths() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.asked, " ")
	s.asked = nil
	return all
}

func (s *service) set(pages map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = pages
}

func TestScrapeFindsTheKind(t *testing.T) {
	tests := []struct{ kind, path, file, first, again string }{
		{Beat, "/stats", "filebeat-8.12.json", "/stats", "/stats"},
		{Logstash, "/_node/stats", "logstash-8.12.json", "/stats /_node/stats", "/_node/stats"},
		{Fluentd, "/api/plugins.json", "fluentd-1.16.json", "/stats /_node/stats /api/plugins.json", "/api/plugins.json"},
		{FluentBit, "/api/v2/metrics/prometheus", "fluent-bit-3.1.prom", "/stats /_node/stats /api/plugins.json /api/v2/metrics/prometheus", "/api/v2/metrics/prometheus"},
		{FluentBit, "/api/v1/metrics", "fluent-bit-2.2.json", "/stats /_node/stats /api/plugins.json /api/v2/metrics/prometheus /api/v1/metrics /", "/api/v1/metrics /"},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			body := fixture(t, tt.file)
			s := start(t, map[string]string{tt.path: string(body)})
			c := client(t, s.URL, 0)
			for _, asked := range []string{tt.first, tt.again} {
				sample, raw, err := c.Scrape(t.Context())
				if err != nil || sample.Kind != tt.kind || !bytes.Equal(raw, body) {
					t.Fatalf("kind %q, %d bytes, %v", sample.Kind, len(raw), err)
				}
				if got := s.paths(); got != asked {
					t.Errorf("asked for %q, want %q", got, asked)
				}
			}
			given := client(t, s.URL+tt.path, 0)
			if sample, _, err := given.Scrape(t.Context()); err != nil || sample.Kind != tt.kind {
				t.Errorf("by path: %q, %v", sample.Kind, err)
			}
			if got := s.paths(); got != tt.again {
				t.Errorf("by path: asked for %q, want %q", got, tt.again)
			}
		})
	}
}

func TestScrapeAsksForTheVersionOncePerLife(t *testing.T) {
	life := func(id, version string) map[string]string {
		return map[string]string{
			"/stats": `{"beat":{"info":{"ephemeral_id":"` + id + `","uptime":{"ms":5}}},"libbeat":{"output":{"events":{"acked":1}}}}`,
			"/":      `{"beat":"filebeat","hostname":"a","version":"` + version + `"}`,
		}
	}
	s := start(t, life("a", "6.8.23"))
	c := client(t, s.URL, 0)
	for _, step := range []struct {
		pages                map[string]string
		asked, name, version string
	}{
		{life("a", "6.8.23"), "/stats /", "filebeat", "6.8.23"},
		{life("a", "6.8.23"), "/stats", "filebeat", "6.8.23"},
		{life("b", "7.17.9"), "/stats /", "filebeat", "7.17.9"},
	} {
		s.set(step.pages)
		sample, _, err := c.Scrape(t.Context())
		if err != nil || sample.Name != step.name || sample.Version != step.version || len(sample.Notes) > 0 {
			t.Errorf("%+v, %v", sample, err)
		}
		if got := s.paths(); got != step.asked {
			t.Errorf("asked for %q, want %q", got, step.asked)
		}
	}
	delete(s.pages, "/")
	s.pages["/stats"] = strings.Replace(s.pages["/stats"], `"b"`, `"c"`, 1)
	sample, _, err := c.Scrape(t.Context())
	if err != nil || sample.Version != "" || sample.Acked.N != 1 {
		t.Errorf("%+v, %v", sample, err)
	}
	wantNotes(t, sample.Notes, []string{"version unknown: get " + s.URL + "/: status 404"})
}

func TestScrapeNotices(t *testing.T) {
	beat, logstash := string(fixture(t, "filebeat-8.12.json")), string(fixture(t, "logstash-8.12.json"))
	s := start(t, map[string]string{"/stats": beat})
	c := client(t, s.URL, 0)
	if _, _, err := c.Scrape(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.set(map[string]string{"/_node/stats": logstash}) // another service takes the address
	_, _, err := c.Scrape(t.Context())
	wantError(t, err, BadStatus, "status 404")
	if sample, _, err := c.Scrape(t.Context()); err != nil || sample.Kind != Logstash {
		t.Errorf("%q, %v", sample.Kind, err)
	}
	s.paths()
	s.set(map[string]string{"/_node/stats": logstash[:500]})
	_, raw, err := c.Scrape(t.Context())
	wantError(t, err, NotJSON, "JSON cut off after 500 bytes")
	if len(raw) != 500 {
		t.Errorf("%d bytes kept", len(raw))
	}
}

func TestScrapeFindsNothing(t *testing.T) {
	s := start(t, map[string]string{"/stats": "<html>It works</html>"})
	c := client(t, s.URL, 0)
	_, _, err := c.Scrape(t.Context())
	wantError(t, err, WrongService, "find counters at "+s.URL+": not at /stats, /_node/stats, /api/plugins.json, /api/v2/metrics/prometheus, /api/v1/metrics: parse counters: an HTML page")
	if got := s.paths(); got != "/stats /_node/stats /api/plugins.json /api/v2/metrics/prometheus /api/v1/metrics" {
		t.Errorf("asked for %q", got)
	}
	wall := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer wall.Close()
	_, _, err = client(t, wall.URL, 0).Scrape(t.Context())
	wantError(t, err, BadStatus, "401")
}

// TestScrapeWaitsForTheService keeps no guess from a time nobody answered.
func TestScrapeWaitsForTheService(t *testing.T) {
	l := loopback(t)
	addr := l.Addr().String()
	l.Close()
	c := client(t, addr, 0)
	_, _, err := c.Scrape(t.Context())
	wantError(t, err, Refused, "")
	answer(t, nil, addr, string(fixture(t, "fluentd-1.16.json")))
	if s, _, err := c.Scrape(t.Context()); err != nil || s.Kind != Fluentd {
		t.Errorf("%q, %v", s.Kind, err)
	}
}

func TestScrapeAtTheSameTime(t *testing.T) {
	s := start(t, map[string]string{"/stats": string(fixture(t, "filebeat-6.8.json")), "/": `{"beat":"filebeat","version":"6.8.23"}`})
	c := client(t, s.URL, 0)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if sample, _, err := c.Scrape(t.Context()); err != nil || sample.Version != "6.8.23" {
				t.Errorf("%q, %v", sample.Version, err)
			}
		})
	}
	wg.Wait()
}

func TestParseIdentity(t *testing.T) {
	for body, want := range map[string]identity{
		`{"beat":"filebeat","name":"host","version":"7.17.9"}`:                       {name: "filebeat", version: "7.17.9"},
		`{"fluent-bit":{"version":"2.2.0","edition":"Community","flags":["FLB_X"]}}`: {name: FluentBit, version: "2.2.0"},
		`{"fluent-bit":7}`: {},
		`<html>`:           {},
	} {
		if got := parseIdentity([]byte(body)); got != want {
			t.Errorf("%s: %+v, want %+v", body, got, want)
		}
	}
}
