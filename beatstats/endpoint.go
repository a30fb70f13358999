package beatstats

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Endpoint is an address where counters are published.
type Endpoint struct {
	Network string // "tcp" or "unix"
	Address string // "host:port", or the path of the socket
	Path    string // of the counters: "/stats"; "" is to be found out
	TLS     bool   // https

	user *url.Userinfo // for basic authentication (Logstash api.auth)
}

const endpointForms = `want "http://host:port", "https://host:port", "http://host:port/path", "host:port" or "unix:///path.sock"`

// maxSocketPath is what fits sockaddr_un.sun_path with its final zero
// (include/uapi/linux/un.h).
const maxSocketPath = 107

// ParseEndpoint reads "http[s]://[user:password@]host:port[/path]", "host:port",
// "unix:///path.sock" (as http.host of a Beat spells it), and
// "http+unix:///path.sock" or "http+unix://%2Fpath.sock/stats". An empty host
// means localhost. Its errors hold no password.
func ParseEndpoint(s string) (Endpoint, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "http", s
	}
	s = withoutUser(s)
	if !ok && strings.Contains(rest, "@") { // what takes passwords out of a command line knows them by what stands before
		return Endpoint{}, fmt.Errorf("endpoint %q: a user needs http:// or https:// before it", s)
	}
	switch scheme {
	case "http", "https":
		e, err := parseTCP(s, rest)
		e.TLS = scheme == "https"
		return e, err
	case "unix", "http+unix":
		return parseUnix(s, rest)
	}
	return Endpoint{}, fmt.Errorf("endpoint %q: unknown scheme %q: %s", s, scheme, endpointForms)
}

// withoutUser takes the user's part out of what will be quoted in an error: all
// up to the last @, whatever it holds.
func withoutUser(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return s
	}
	scheme, _, ok := strings.Cut(s[:at], "://")
	if !ok {
		return "***" + s[at:]
	}
	return scheme + "://***" + s[at:]
}

func parseTCP(s, rest string) (Endpoint, error) {
	u, err := url.Parse("http://" + rest)
	if err != nil {
		return Endpoint{}, fmt.Errorf("endpoint %q: %s", s, endpointForms)
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 {
		return Endpoint{}, fmt.Errorf("endpoint %q: it needs a port from 1 to 65535: %s", s, endpointForms)
	}
	host := u.Hostname()
	if host == "" {
		host = "localhost"
	}
	e := Endpoint{Network: "tcp", Address: net.JoinHostPort(host, u.Port()), user: u.User}
	if e.Path = u.RequestURI(); e.Path == "/" {
		e.Path = ""
	}
	return e, e.check(s)
}

// check refuses a path of the user's that may do more than tell.
func (e Endpoint) check(s string) error {
	if e.Path != "" && !onlyTells(e.Path) {
		return fmt.Errorf("endpoint %q: its path must end with that of a page that only tells: %s", s, strings.Join(pages, ", "))
	}
	return nil
}

func parseUnix(s, rest string) (Endpoint, error) {
	e := Endpoint{Network: "unix", Address: rest}
	if !strings.HasPrefix(rest, "/") {
		socket, path, found := strings.Cut(rest, "/")
		if found && path != "" {
			e.Path = "/" + path
		}
		var err error
		if e.Address, err = url.PathUnescape(socket); err != nil || !strings.HasPrefix(e.Address, "/") {
			return Endpoint{}, fmt.Errorf("endpoint %q: the socket needs an absolute path: %s", s, endpointForms)
		}
	}
	if len(e.Address) > maxSocketPath || len(e.Address) < 2 {
		return Endpoint{}, fmt.Errorf("endpoint %q: a socket path has 2 to %d bytes", s, maxSocketPath)
	}
	return e, e.check(s)
}

// String gives the endpoint as ParseEndpoint reads it, without credentials.
func (e Endpoint) String() string {
	switch {
	case e.Network == "unix" && e.Path != "":
		return "http+unix://" + url.PathEscape(e.Address) + e.Path
	case e.Network == "unix":
		return "unix://" + e.Address
	}
	return e.scheme() + "://" + strings.ReplaceAll(e.Address, "%", "%25") + e.Path // % starts a zone: RFC 6874
}

func (e Endpoint) scheme() string {
	if e.TLS {
		return "https"
	}
	return "http"
}

// url is what to request for path: of a unix socket the host is only a name.
func (e Endpoint) url(path string) *url.URL {
	host := e.Address
	if e.Network == "unix" {
		host = "localhost"
	}
	path, query, _ := strings.Cut(path, "?")
	if plain, err := url.PathUnescape(path); err == nil {
		path = plain
	}
	return &url.URL{Scheme: e.scheme(), User: e.user, Host: host, Path: "/" + strings.TrimPrefix(path, "/"), RawQuery: query}
}
