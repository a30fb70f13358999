package beatstats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"halfopen/netns"
)

const (
	// MaxBody is the largest body a Client takes, in bytes. A real one is some
	// kilobytes, and megabytes only where a Beat reads thousands of files.
	MaxBody = 16 << 20

	// DefaultTimeout bounds a request where NewClient is given none.
	DefaultTimeout = 5 * time.Second

	maxHeader = 64 << 10 // bytes
)

// Client fetches the counters of one endpoint. Its methods may be called at
// the same time.
type Client struct {
	endpoint Endpoint
	timeout  time.Duration
	http     *http.Client

	mu    sync.Mutex
	found string   // path of the counters, once known
	self  identity // of the service that answered last
}

// NewClient makes a client of endpoint (see ParseEndpoint) whose connections
// are made inside ns; nil is the caller's namespace. timeout bounds each
// request from dial to last byte; 0 is DefaultTimeout. It follows no redirect
// and takes no proxy from the environment. Nothing is dialed yet.
func NewClient(ns *netns.NS, endpoint string, timeout time.Duration) (*Client, error) {
	e, err := ParseEndpoint(endpoint)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(e.Address) // as named: the certificate must be for it
	if ns != nil && e.Network == "tcp" {
		if e.Address, err = literal(e.Address); err != nil {
			return nil, fmt.Errorf("endpoint %q: %w", e, err)
		}
	}
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	c := &Client{endpoint: e, timeout: timeout, found: e.Path}
	c.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:            c.dialer(ns),
			TLSClientConfig:        &tls.Config{ServerName: host},
			TLSHandshakeTimeout:    timeout,
			DisableCompression:     true, // the body is evidence as it was sent
			MaxResponseHeaderBytes: maxHeader,
			MaxIdleConns:           1,
			IdleConnTimeout:        90 * time.Second,
		},
	}
	return c, nil
}

// literal gives address with an IP address for a host. Names can't be resolved
// inside a namespace: Go's resolver makes its sockets in other goroutines,
// hence on threads that stayed outside.
func literal(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return "", fmt.Errorf("host %q can't be resolved inside a network namespace: give its IP address", host)
	}
	return net.JoinHostPort(host, port), nil
}

// dialer makes the socket on the thread that calls it, which for an IP address
// net.Dialer does; ns.Do gives that thread the namespace.
func (c *Client) dialer(ns *netns.NS) func(context.Context, string, string) (net.Conn, error) {
	d := net.Dialer{Timeout: c.timeout}
	return func(ctx context.Context, _, _ string) (conn net.Conn, err error) {
		dial := func() error {
			conn, err = d.DialContext(ctx, c.endpoint.Network, c.endpoint.Address)
			return err
		}
		if ns == nil {
			err = dial()
		} else {
			err = ns.Do(dial)
		}
		return conn, err
	}
}

// Endpoint is what the client asks, without credentials.
func (c *Client) Endpoint() string { return c.endpoint.String() }

// Close ends idle connections; the client can still be used.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Fetch gets path and returns the body as it came and how long that took, from
// dial to last byte. The body is returned with an error too, as far as it
// came, but for TooLarge. Errors are *Error.
func (c *Client) Fetch(ctx context.Context, path string) (body []byte, took time.Duration, err error) {
	u := c.endpoint.url(path)
	at := c.endpoint
	at.Path = u.RequestURI()
	op := "get " + at.String()
	if !onlyTells(u.Path) {
		return nil, 0, &Error{Reason: NotAsked, Op: op, Detail: "not asked: it is none of the pages that are known to change nothing"}
	}
	start := time.Now()
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var connected atomic.Bool
	limited = httptrace.WithClientTrace(limited, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req := &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{
		"Accept":     {"application/json"},
		"User-Agent": {"halfopen"},
	}}
	resp, err := c.http.Do(req.WithContext(limited))
	if err != nil {
		took = time.Since(start)
		return nil, took, failure(ctx, op, err, connected.Load(), took)
	}
	defer resp.Body.Close()
	if resp.ContentLength > MaxBody {
		return nil, time.Since(start), tooLarge(op, fmt.Sprintf("%d", resp.ContentLength))
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, MaxBody+1))
	took = time.Since(start)
	switch {
	case len(body) > MaxBody:
		return nil, took, tooLarge(op, "more")
	case err != nil:
		return body, took, bodyFailure(ctx, op, err, len(body), resp.ContentLength, took)
	case resp.StatusCode != http.StatusOK:
		e := &Error{Reason: BadStatus, Status: resp.StatusCode, Op: op, Detail: "status " + resp.Status}
		if to := resp.Header.Get("Location"); to != "" {
			e.Detail += ", a redirect to " + quote(to, 100) + ", not followed"
		}
		if len(body) > 0 {
			e.Detail += ": " + quote(body, 100)
		}
		e.Detail = urlUser.ReplaceAllString(e.Detail, "//…@")
		return body, took, e
	}
	return body, took, nil
}

func tooLarge(op, size string) error {
	return &Error{Reason: TooLarge, Op: op, Detail: fmt.Sprintf("a body of %s bytes, the limit is %d", size, MaxBody)}
}

// failure tells why no header came.
func failure(ctx context.Context, op string, err error, connected bool, took time.Duration) error {
	var dial *net.OpError
	e := &Error{Op: op, Err: cause(err)}
	switch {
	case ctx.Err() == context.Canceled:
		e.Reason, e.Detail = Canceled, "given up by the caller"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		e.Reason, e.Detail = Refused, "nothing listens there (is http.enabled set, and is this the right network namespace?)"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		e.Reason, e.Detail = BadCertificate, "its certificate is not to be trusted (name the file of your own authority in the environment variable SSL_CERT_FILE)"
	case errors.Is(err, http.ErrSchemeMismatch):
		e.Reason, e.Detail = NotHTTP, "it does not speak TLS: use http://"
	case !connected || errors.As(err, &dial) && dial.Op == "dial":
		e.Reason, e.Detail = Unreachable, "no connection"
	case errors.Is(err, context.DeadlineExceeded):
		e.Reason, e.Detail = HeaderTimeout, fmt.Sprintf("connected, but no answer within %v", took.Round(time.Millisecond))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		e.Reason, e.Detail = Closed, "the connection ended before an answer"
	default:
		e.Reason, e.Detail = NotHTTP, "no HTTP answer (is it https?)"
	}
	return e
}

// bodyFailure tells why the body is not whole; want is its announced length,
// below zero if unknown.
func bodyFailure(ctx context.Context, op string, err error, have int, want int64, took time.Duration) error {
	of := ""
	if want >= 0 {
		of = fmt.Sprintf(" of %d", want)
	}
	e := &Error{Reason: Closed, Op: op, Err: cause(err), Detail: fmt.Sprintf("the body ended after %d%s bytes", have, of)}
	switch {
	case ctx.Err() == context.Canceled:
		e.Reason = Canceled
	case errors.Is(err, context.DeadlineExceeded):
		e.Reason, e.Detail = BodyTimeout, fmt.Sprintf("only %d%s bytes of the body within %v", have, of, took.Round(time.Millisecond))
	}
	return e
}

// cause takes off the wrapper that names method and address once more.
func cause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
