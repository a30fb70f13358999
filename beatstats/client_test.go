package beatstats

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	brief = 200 * time.Millisecond // for dials that are meant to run out of time
	slow  = 2 * time.Second        // for requests that are, by a clock that waits for them
)

// client waits for a minute where timeout is 0: a busy machine may need more than the default.
func client(t *testing.T, endpoint string, timeout time.Duration) *Client {
	t.Helper()
	c, err := NewClient(nil, endpoint, cmp.Or(timeout, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// serve answers each connection to a listener with handle, once the request's
// header has come. done is closed when the test ends.
func serve(t *testing.T, l net.Listener, handle func(conn net.Conn, done <-chan struct{})) {
	t.Helper()
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
					handle(conn, done)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); close(done); wg.Wait() })
}

// free is a free port of an address that no other program of this host dials from or listens on, so that it is
// still free when a test comes back to it.
const free = "127.0.0.2:0"

func loopback(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", free)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wantError checks the reason and part of the text of an error of a Client.
func wantError(t *testing.T, err error, reason Reason, says string) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Reason != reason || !strings.Contains(err.Error(), says) {
		t.Fatalf("error %v, want %s with %q", err, reason, says)
	}
	return e
}

func TestFetch(t *testing.T) {
	body := fixture(t, "filebeat-7.17.json")
	var header atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header.Store(r.Header)
		fmt.Fprintf(w, "%s %s ", r.URL.RequestURI(), r.Host)
		w.Write(body)
	}))
	defer s.Close()
	c := client(t, s.URL, 0)
	got, took, err := c.Fetch(t.Context(), "stats?pretty")
	if err != nil {
		t.Fatal(err)
	}
	want := append([]byte("/stats?pretty "+strings.TrimPrefix(s.URL, "http://")+" "), body...)
	if !bytes.Equal(got, want) || took <= 0 {
		t.Errorf("took %v, body %q", took, got)
	}
	if h := header.Load().(http.Header); h.Get("Accept-Encoding") != "" || h.Get("Authorization") != "" {
		t.Errorf("sent %v", h)
	}
}

func TestFetchAuthenticates(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "elastic" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	c := client(t, strings.Replace(s.URL, "//", "//elastic:secret@", 1), 0)
	if _, _, err := c.Fetch(t.Context(), "/"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	s.Close()
	if _, _, err := c.Fetch(t.Context(), "/"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}

// TestFetchTLS wants a certificate that can be verified, and one for the name
// that was given, also where a namespace is dialed by address.
func TestFetchTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		fmt.Fprint(w, user, password)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer s.Close()
	at := strings.Replace(s.URL, "//", "//elastic:secret@", 1)
	_, _, err := client(t, at, 0).Fetch(t.Context(), "/")
	if wantError(t, err, BadCertificate, "SSL_CERT_FILE"); strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate()) // for example.com and 127.0.0.1
	trusting := func(endpoint string) *Client {
		c := client(t, endpoint, 0)
		c.http.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
		return c
	}
	if body, _, err := trusting(at).Fetch(t.Context(), "/"); err != nil || string(body) != "elasticsecret" {
		t.Errorf("%q, %v", body, err)
	}
	_, _, err = trusting(strings.Replace(s.URL, "127.0.0.1", "localhost", 1)).Fetch(t.Context(), "/")
	wantError(t, err, BadCertificate, "localhost")

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	_, _, err = client(t, strings.Replace(plain.URL, "http:", "https:", 1), 0).Fetch(t.Context(), "/")
	wantError(t, err, NotHTTP, "use http://")
	_, _, err = client(t, strings.Replace(s.URL, "https:", "http:", 1), 0).Fetch(t.Context(), "/")
	if err == nil || !strings.Contains(err.Error(), "HTTPS") && !strings.Contains(err.Error(), "https") {
		t.Errorf("http to https: %v", err)
	}
}

func TestFetchRefused(t *testing.T) {
	l := loopback(t)
	l.Close()
	_, _, err := client(t, l.Addr().String(), 0).Fetch(t.Context(), "/stats")
	e := wantError(t, err, Refused, "get http://"+l.Addr().String()+"/stats: nothing listens there")
	if !errors.Is(e, syscall.ECONNREFUSED) {
		t.Error("the cause is lost")
	}
	_, _, err = client(t, "unix:///nonexistent/f.sock", 0).Fetch(t.Context(), "/stats")
	wantError(t, err, Refused, "get http+unix://%2Fnonexistent%2Ff.sock/stats: nothing listens")
}

// TestFetchUnreachable asks a listener whose backlog is full: the kernel drops
// the SYN, so the dial runs out of time.
func TestFetchUnreachable(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
	first, err := net.Dial("tcp", addr) // fills the backlog of 0 + 1
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	_, _, err = client(t, addr, brief).Fetch(t.Context(), "/stats")
	wantError(t, err, Unreachable, "no connection")
}

// pipes is a listener whose connections do not leave the process, and so its clock.
type pipes chan net.Conn

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p <- server
	return client, nil
}

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return nil }

func TestFetchBadAnswers(t *testing.T) {
	hang := func(sent string) func(net.Conn, <-chan struct{}) {
		return func(conn net.Conn, done <-chan struct{}) {
			io.WriteString(conn, sent)
			<-done
		}
	}
	say := func(sent string) func(net.Conn, <-chan struct{}) {
		return func(conn net.Conn, _ <-chan struct{}) { io.WriteString(conn, sent) }
	}
	forever := func(head, chunk string) func(net.Conn, <-chan struct{}) {
		return func(conn net.Conn, _ <-chan struct{}) {
			_, err := io.WriteString(conn, head)
			for err == nil {
				_, err = io.WriteString(conn, chunk)
			}
		}
	}
	trickle := func(conn net.Conn, done <-chan struct{}) {
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n{")
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				io.WriteString(conn, " ")
			case <-done:
				return
			}
		}
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	tests := []struct {
		name    string
		handle  func(net.Conn, <-chan struct{})
		timeout time.Duration
		reason  Reason
		says    string
		body    string // what must be kept of it
	}{
		{"hangs before the header", hang(""), slow, HeaderTimeout, "connected, but no answer within", ""},
		{"hangs in the header", hang(ok + "Content-Le"), slow, HeaderTimeout, "no answer", ""},
		{"hangs after the header", hang(ok + "Content-Length: 9\r\n\r\n"), slow, BodyTimeout, "only 0 of 9 bytes", ""},
		{"hangs in the body", hang(ok + "Content-Length: 9\r\n\r\n{\"a"), slow, BodyTimeout, "only 3 of 9 bytes", `{"a`},
		{"one byte a minute", trickle, slow, BodyTimeout, "only 1 bytes of the body within", "{"},
		{"endless body", forever(ok+"\r\n", strings.Repeat(" ", 1<<16)), time.Minute, TooLarge, "a body of more bytes, the limit is 16777216", ""},
		{"huge body announced", say(ok + "Content-Length: 16777217\r\n\r\n{"), time.Minute, TooLarge, "a body of 16777217 bytes", ""},
		{"endless header", forever(ok, "X: "+strings.Repeat("x", 1000)+"\r\n"), time.Minute, NotHTTP, "headers exceeded", ""},
		{"endless hints", forever("", "HTTP/1.1 103 Early Hints\r\n\r\n"), time.Minute, NotHTTP, "", ""},
		{"body shorter than announced", say(ok + "Content-Length: 99\r\n\r\n{\"a\":1}"), time.Minute, Closed, "ended after 7 of 99 bytes", `{"a":1}`},
		{"chunks cut off", say(ok + "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n9\r\n\""), time.Minute, Closed, "ended after 4 bytes", `{"a"`},
		{"bad length", say(ok + "Content-Length: -3\r\n\r\n"), time.Minute, NotHTTP, "bad Content-Length", ""},
		{"two lengths", say(ok + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), time.Minute, NotHTTP, "", ""},
		{"says nothing and goes", say(""), time.Minute, Closed, "ended before an answer", ""},
		{"not HTTP", say("2A\x00\x00\x00\x00"), time.Minute, NotHTTP, "malformed HTTP", ""},
		{"unauthorized", say("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\nwho?"), time.Minute, BadStatus, `status 401 Unauthorized: "who?"`, "who?"},
		{"not found", say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), time.Minute, BadStatus, "status 404 Not Found", ""},
		{"broken", say("HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}"), time.Minute, BadStatus, "status 500 Oops", "{}"},
		{"empty", say("HTTP/1.1 204 No Content\r\n\r\n"), time.Minute, BadStatus, "status 204", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := make(pipes)
				serve(t, l, tt.handle)
				c := client(t, "localhost:5066", tt.timeout)
				c.http.Transport.(*http.Transport).DialContext = l.dial
				body, took, err := c.Fetch(t.Context(), "/stats")
				e := wantError(t, err, tt.reason, tt.says)
				if string(body) != tt.body {
					t.Errorf("kept %q, want %q", body, tt.body)
				}
				if (took == tt.timeout) != (tt.timeout == slow) || (e.Status != 0) != (tt.reason == BadStatus) {
					t.Errorf("took %v, status %d", took, e.Status)
				}
			})
		})
	}
}

func TestFetchFollowsNoRedirect(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, "http://elastic:secret@"+r.Host+r.URL.Path, http.StatusFound)
	}))
	defer s.Close()
	_, _, err := client(t, s.URL, 0).Fetch(t.Context(), "/stats")
	e := wantError(t, err, BadStatus, `status 302 Found, a redirect to "http://…@`+strings.TrimPrefix(s.URL, "http://")+`/stats", not followed`)
	if e.Status != 302 || asked.Load() != 1 || strings.Contains(e.Error(), "secret") {
		t.Errorf("status %d, asked %d times: %v", e.Status, asked.Load(), e)
	}
}

func TestFetchCanceled(t *testing.T) {
	for _, sent := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"} {
		ctx, cancel := context.WithCancel(t.Context())
		l := loopback(t)
		serve(t, l, func(conn net.Conn, done <-chan struct{}) {
			io.WriteString(conn, sent)
			cancel()
			<-done
		})
		_, _, err := client(t, l.Addr().String(), 0).Fetch(ctx, "/stats")
		wantError(t, err, Canceled, "context canceled")
		cancel()
	}
}

// TestFetchKeepsItsConnection also restarts the service under the client: the
// connection that died meanwhile must not cost a reading.
func TestFetchKeepsItsConnection(t *testing.T) {
	var dials atomic.Int32
	start := func(addr string) *httptest.Server {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		s := &httptest.Server{Listener: l, Config: &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }),
			ConnState: func(_ net.Conn, st http.ConnState) {
				if st == http.StateNew {
					dials.Add(1)
				}
			},
		}}
		s.Start()
		return s
	}
	s := start(free)
	addr := s.Listener.Addr().String()
	c := client(t, addr, 0)
	for range 5 {
		if _, _, err := c.Fetch(t.Context(), "/"); err != nil {
			t.Fatal(err)
		}
	}
	if n := dials.Load(); n > 2 { // one more where a thread stood still for 50 ms (net/http, maxWriteWaitBeforeConnReuse)
		t.Errorf("%d connections for 5 requests", n)
	}
	s.Close()
	s = start(addr)
	defer s.Close()
	if _, _, err := c.Fetch(t.Context(), "/"); err != nil {
		t.Error(err)
	}
}

func TestFetchUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, r.URL)
	})}}
	s.Start()
	defer s.Close()
	for _, endpoint := range []string{"unix://" + path, "http+unix://" + path} {
		body, _, err := client(t, endpoint, 0).Fetch(t.Context(), "/stats")
		if err != nil || string(body) != "localhost/stats" {
			t.Errorf("%s: %q, %v", endpoint, body, err)
		}
	}
}
