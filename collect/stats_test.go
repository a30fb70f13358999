package collect

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"halfopen/beatstats"
	"halfopen/timeline"
)

func body(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../beatstats/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func scraper(t *testing.T, endpoint string, timeout time.Duration) *Stats {
	t.Helper()
	c, err := beatstats.NewClient(nil, endpoint, cmp.Or(timeout, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &Stats{At: "shipper", Name: "filebeat", Client: c, Every: 20 * time.Millisecond, within: time.Minute, Paths: []string{"/stats"}}
}

// speaker answers each connection with what say writes; done is closed when the
// test ends. It is not net/http's server, which would not say these things.
type speaker struct {
	addr string
	say  atomic.Pointer[func(conn net.Conn, done <-chan struct{})]
}

func speak(t *testing.T, say func(net.Conn, <-chan struct{})) *speaker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &speaker{addr: l.Addr().String()}
	s.say.Store(&say)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					(*s.say.Load())(conn, done)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); close(done); wg.Wait() })
	return s
}

func says(text string) func(net.Conn, <-chan struct{}) {
	return func(conn net.Conn, _ <-chan struct{}) { io.WriteString(conn, text) }
}

func answers(body string) func(net.Conn, <-chan struct{}) {
	return says("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
}

func hangs(after string) func(net.Conn, <-chan struct{}) {
	return func(conn net.Conn, done <-chan struct{}) {
		io.WriteString(conn, after)
		<-done
	}
}

// Whatever an endpoint does, it costs its own reading and nothing else: the
// record says why, and when it answers again it is read again.
func TestStatsSurvive(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	beat := func(acked string) string {
		return `{"beat":{"info":{"name":"filebeat","version":"8.17.1","uptime":{"ms":5}}},"libbeat":{"output":{"events":{"acked":` + acked + `}}}}`
	}
	tests := []struct {
		name    string
		say     func(net.Conn, <-chan struct{})
		timeout time.Duration // 0: longer than the test takes
		fails   string        // part of the Failure; "|" between two, where it depends on how fast the machine is
		corrupt string        // or of what is wrong with acked in the sample
		note    string        // or of its note
	}{
		{name: "hangs before the header", say: hangs(""), timeout: 2 * time.Second, fails: "connected, but no answer within"},
		{name: "hangs in the header", say: hangs(ok + "Content-Le"), timeout: 2 * time.Second, fails: "no answer within"},
		{name: "hangs after the header", say: hangs(ok + "Content-Length: 9\r\n\r\n"), timeout: 2 * time.Second, fails: "only 0 of 9 bytes of the body within"},
		{name: "hangs in the body", say: hangs(ok + "Content-Length: 9\r\n\r\n{\"a"), timeout: 2 * time.Second, fails: "only 3 of 9 bytes"},
		{name: "one byte a minute", say: func(conn net.Conn, done <-chan struct{}) {
			io.WriteString(conn, ok+"\r\n")
			for tick := time.NewTicker(time.Minute); ; {
				io.WriteString(conn, "{")
				select {
				case <-tick.C:
				case <-done:
					return
				}
			}
		}, timeout: 2 * time.Second, fails: "only 1 bytes of the body within"},
		{name: "10 GB announced", say: says(ok + "Content-Length: 10737418240\r\n\r\n{"), fails: "a body of 10737418240 bytes, the limit is"},
		{name: "10 GB sent", say: func(conn net.Conn, _ <-chan struct{}) {
			io.WriteString(conn, ok+"\r\n")
			_, _ = io.Copy(conn, io.LimitReader(spaces{}, 10<<30))
		}, fails: "a body of more bytes, the limit is|bytes of the body within"},
		{name: "longer than its length", say: says(ok + "Content-Length: 20\r\nConnection: close\r\n\r\n" + beat("1")), fails: "JSON cut off after 20 bytes"},
		{name: "shorter than its length", say: says(ok + "Content-Length: 9000\r\n\r\n" + beat("1")), fails: "of 9000 bytes"},
		{name: "redirects for ever", say: says("HTTP/1.1 302 Found\r\nLocation: /stats\r\nContent-Length: 0\r\n\r\n"), fails: `a redirect to "/stats", not followed`},
		{name: "unauthorized", say: says("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), fails: "status 401 Unauthorized"},
		{name: "not found", say: says("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), fails: "status 404 Not Found"},
		{name: "broken", say: says("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops"), fails: `status 500 Internal Server Error: "oops"`},
		{name: "truncated JSON", say: answers(beat("1")[:40]), fails: "JSON cut off after 40 bytes"},
		{name: "NaN", say: answers(beat("NaN")), fails: "broken JSON at byte"},
		{name: "1e400", say: answers(beat("1e400")), corrupt: "does not fit 64 bits"},
		{name: "duplicate keys", say: answers(beat(`1,"acked":2`)), corrupt: "given more than once"},
		{name: "deeply nested", say: answers(strings.Repeat("[", 1<<20)), fails: "nested deeper than 64 levels"},
		{name: "deeply nested keys", say: answers(`{"libbeat":` + strings.Repeat(`{"a":`, 1<<18)), fails: "nested deeper than 64 levels"},
		{name: "invalid UTF-8", say: answers(strings.Replace(beat("1"), "filebeat", "file\xff", 1)), note: "invalid UTF-8 from byte"},
		{name: "HTML", say: answers("<!doctype html><title>login</title>"), fails: "an HTML page, not JSON"},
		{name: "another service, HTTP", say: answers(`{"name":"es","cluster_name":"c","tagline":"You Know"}`), fails: `but an object with "name", "cluster_name", "tagline"`},
		{name: "another service, not HTTP", say: says("SSH-2.0-OpenSSH_9.2\r\n"), fails: "no HTTP answer"},
		{name: "says nothing", say: says(""), fails: "the connection ended before an answer"},
	}
	good := answers(body(t, "filebeat-7.17.29.json"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o, srv := observe(t), speak(t, tt.say)
			s := scraper(t, srv.addr+"/stats", tt.timeout)
			stop := o.start(s)
			if tt.fails != "" {
				r := o.await("failure with "+tt.fails, 1, func(r timeline.Record) bool { // on a busy host the time may be over sooner, too
					return isFailure(r) && containsAny(r.Failure.Error, strings.Split(tt.fails, "|"))
				})
				if f := r.Failure; f.Source != "stats of filebeat" || !strings.Contains(f.Error, srv.addr) && !strings.Contains(f.Error, "parse") {
					t.Errorf("%s: %s", f.Source, f.Error)
				}
				if tt.timeout != 0 && r.Took < tt.timeout || r.Took <= 0 || r.Took > time.Minute {
					t.Errorf("took %v", r.Took)
				}
			} else {
				sample := o.await("sample", 1, isStats).Stats.Sample
				if sample.Acked.OK() == (tt.corrupt != "") || !strings.Contains(sample.Acked.Corrupt, tt.corrupt) || !strings.Contains(strings.Join(sample.Notes, " "), tt.note) {
					t.Errorf("acked %+v, notes %q", sample.Acked, sample.Notes)
				}
			}
			srv.say.Store(&good)
			o.await("good sample", 1, func(r timeline.Record) bool {
				return isStats(r) && r.Stats.Sample.Version == "7.17.29" && r.Stats.Sample.Acked.OK()
			})
			stop()
		})
	}
}

func containsAny(s string, parts []string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// Nothing listens, then a Beat does, then another life of it: the restart is a
// record of its own. Then another service takes the port, and a Beat again.
func TestStatsRestart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.2:0") // nobody dials from there: the port is still free below
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	o := observe(t)
	o.start(scraper(t, addr, 0))
	if f := o.await("refusal", 1, isFailure).Failure; !strings.Contains(f.Error, "nothing listens there") {
		t.Error(f.Error)
	}

	var page atomic.Value
	life := func(id string, up, acked int) {
		page.Store(fmt.Sprintf(`{"beat":{"info":{"name":"filebeat","version":"8.17.1","ephemeral_id":%q,"uptime":{"ms":%d}}},"libbeat":{"output":{"events":{"acked":%d}}}}`, id, up, acked))
	}
	life("a", 5000, 540)
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := page.Load().(string)
		if kind := map[bool]string{true: "/stats", false: "/_node/stats"}[strings.Contains(text, "libbeat")]; r.URL.Path != kind {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, text)
	})}}
	srv.Start()
	defer srv.Close()
	restarted := func(r timeline.Record) bool { return r.Party != nil && r.Party.Change == timeline.Restarted }
	o.await("sample", 2, isStats)
	if found := o.all(restarted); len(found) > 0 {
		t.Errorf("restart %+v before there was one", found[0].Party)
	}
	for i, step := range []struct {
		change func()
		why    string
	}{
		{func() { life("b", 6000, 541) }, `ephemeral id changed from "a" to "b"`},
		{func() { life("b", 100, 0) }, "uptime fell from 6s to 100ms"},
		{func() { page.Store(body(t, "logstash-8.12.json")) }, "a logstash answers where a beat did"},
		{func() { life("c", 100, 0) }, "a beat answers where a logstash did"},
	} {
		step.change()
		p := o.await("restart", i+1, restarted).Party
		if p.At != "shipper" || p.Name != "filebeat" || p.How != step.why {
			t.Errorf("step %d: %+v, want %s", i, p, step.why)
		}
	}
}

// A scrape never begins before the one before has ended, whoever asks; a slow one
// is recorded with how long it took, and holds up nobody else.
func TestScrapesNeverOverlap(t *testing.T) {
	var now, most atomic.Int32
	entered, release := make(chan struct{}, 1), make(chan struct{})
	good := body(t, "filebeat-7.17.29.json")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		select {
		case entered <- struct{}{}:
		default: // it is known
		}
		<-release
		io.WriteString(w, good)
	}))
	defer srv.Close()
	o := observe(t)
	s := scraper(t, srv.URL+"/stats", 0)
	o.start(s)
	<-entered
	began := time.Now()
	var keepers sync.WaitGroup
	for _, phase := range []string{Before, During, After} {
		keepers.Go(func() { s.Keep(t.Context(), o.Recorder, phase) })
	}
	other := metronome(make(chan struct{}))
	o.start(other)
	for range 50 { // while the scrape hangs
		<-other
	}
	hung := time.Since(began)
	close(release)
	if r := o.await("sample", 1, isStats); r.Took < hung {
		t.Errorf("a scrape of more than %v was recorded with %v", hung, r.Took)
	}
	keepers.Wait()
	o.await("third sample", 3, isStats)
	if n := most.Load(); n != 1 {
		t.Errorf("%d requests at a time", n)
	}
	if files := o.files(); len(files) != 3 {
		t.Errorf("kept %q", files)
	}
}

// metronome is a source that says when it had its turn.
type metronome chan struct{}

func (m metronome) Run(ctx context.Context, _ *Recorder) error {
	every(ctx, 5*time.Millisecond, func() {
		select {
		case m <- struct{}{}:
		case <-ctx.Done():
		}
	})
	return nil
}

// What an endpoint is recorded as has no password in it.
func TestStatsTellNoPassword(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		io.WriteString(w, body(t, "logstash-8.12.json"))
	}))
	o := observe(t)
	o.start(scraper(t, strings.Replace(srv.URL, "//", "//elastic:secret@", 1)+"/_node/stats", 0))
	if at := o.await("sample", 1, isStats).Stats.Endpoint; at != srv.URL+"/_node/stats" {
		t.Errorf("endpoint %q", at)
	}
	srv.Close()
	if f := o.await("failure", 1, isFailure).Failure; strings.Contains(f.Error, "secret") {
		t.Error(f.Error)
	}
}
