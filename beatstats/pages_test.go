package beatstats

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Everything that is ever asked is on the list, and asked by GET.
func TestOnlyPagesThatTell(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Method+" "+r.URL.Path)
		io.WriteString(w, "{}")
	}))
	defer s.Close()
	c := client(t, s.URL, 0)
	want := []string{"GET /"}
	paths := []string{"/"}
	for _, k := range kinds {
		paths = append(paths, k.path)
		for _, p := range OnsetPages(k.name) {
			paths = append(paths, p.Path)
		}
	}
	for _, p := range paths {
		if _, _, err := c.Fetch(t.Context(), p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		path, _, _ := strings.Cut(p, "?")
		want = append(want, "GET "+path)
	}
	slices.Sort(want)
	slices.Sort(asked)
	if a, w := slices.Compact(asked), slices.Compact(want); !slices.Equal(a, w) || len(a) < 9 {
		t.Errorf("asked %q, want %q", a, w)
	}
}

func TestWhatIsNotAsked(t *testing.T) {
	l := loopback(t)
	defer l.Close()
	c := client(t, l.Addr().String(), brief)
	for _, path := range []string{
		"/store-inspector", "/store-inspector/x?key=stats", "/api/plugins.flushBuffers", "/api/config.reload", "/api/processes.killWorkers",
		"/debug/pprof/profile", "/debug/pprof/heap?gc=1", "/api/v2/reload", "/stats/../store-inspector", "/_node/logging/reset", "/statsx", "//",
		"/%73tore-inspector",
	} {
		_, _, err := c.Fetch(t.Context(), path)
		wantError(t, err, NotAsked, "known to change nothing")
		if path == "//" {
			continue
		}
		if _, err := ParseEndpoint(net.JoinHostPort("127.0.0.1", "5066") + path); err == nil || !strings.Contains(err.Error(), "only tells") {
			t.Errorf("--stats with %s: %v", path, err)
		}
	}
	if e, err := ParseEndpoint("http://gateway:80/beats/one/stats"); err != nil || e.Path != "/beats/one/stats" {
		t.Errorf("behind a proxy: %+v, %v", e, err)
	}
}
