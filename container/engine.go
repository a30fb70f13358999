package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

const (
	askTimeout = 4 * time.Second // for an engine's whole answer
	maxAnswer  = 4 << 20         // bytes; a real one has some kilobytes
)

// errElsewhere says that an engine knows the container, but this host's /proc
// does not have its process.
var errElsewhere = errors.New("the container runs elsewhere")

// engine speaks the Docker API (Docker, Podman) on a unix socket.
type engine struct {
	socket string
	client *http.Client
}

func newEngine(socket string) engine {
	return engine{socket, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: askTimeout}
			return d.DialContext(ctx, "unix", socket)
		},
		ResponseHeaderTimeout: askTimeout,
		DisableKeepAlives:     true,
	}}}
}

// engines gives the sockets worth asking. Like docker's own client it takes
// DOCKER_HOST for the last word. Under sudo the user's own engine is meant too.
func (h Host) engines() ([]engine, error) {
	if s := os.Getenv("DOCKER_HOST"); s != "" {
		socket, ok := strings.CutPrefix(s, "unix://")
		if !ok || !filepath.IsAbs(socket) {
			return nil, fmt.Errorf("DOCKER_HOST %q: want unix:///path: containers of another machine can't be looked into", s)
		}
		return []engine{newEngine(socket)}, nil
	}
	sockets := []string{"/var/run/docker.sock", "/run/podman/podman.sock"}
	for _, dir := range runtimeDirs() {
		sockets = append(sockets, filepath.Join(dir, "docker.sock"), filepath.Join(dir, "podman", "podman.sock"))
	}
	var out []engine
	for _, s := range sockets {
		out = append(out, newEngine(h.Root+s))
	}
	return out, nil
}

func runtimeDirs() []string {
	var dirs []string
	if d := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		dirs = append(dirs, d)
	}
	if uid := os.Getenv("SUDO_UID"); uid != "" && strings.Trim(uid, "0123456789") == "" && os.Geteuid() == 0 {
		dirs = append(dirs, filepath.Join("/run/user", uid))
	}
	return dirs
}

// ask takes the first engine that knows the container.
func (h Host) ask(ctx context.Context, nameOrID string, seen survey) (Container, error) {
	engines, err := h.engines()
	if err != nil {
		return Container{}, err
	}
	var errs []error
	for _, e := range engines {
		c, err := e.inspect(ctx, nameOrID)
		if err == nil {
			err = h.verify(&c, seen)
		}
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", e.socket, err))
	}
	return Container{}, silence{errs}
}

// verify puts the process that the kernel shows in place of the one that the
// engine told: the engine may count pids in a namespace of its own.
func (h Host) verify(c *Container, seen survey) error {
	if !c.Running {
		return nil
	}
	pid := c.PID
	c.Running, c.PID = false, 0
	if h.settle(c, pid) {
		return nil
	}
	if k := seen.known[c.ID]; k != nil && h.settle(c, k.PID) {
		return nil
	}
	return fmt.Errorf("%w as process %d: the engine is on another machine or in another PID namespace, or the container has just ended",
		errElsewhere, pid)
}

func (e engine) inspect(ctx context.Context, nameOrID string) (Container, error) {
	body, server, err := e.describe(ctx, nameOrID)
	if err != nil {
		return Container{}, err
	}
	c, err := parseInspect(body)
	if c.Engine = Docker; strings.HasPrefix(server, libpod) {
		c.Engine = Podman
	}
	return c, err
}

// libpod begins what Podman calls itself in the Server header.
const libpod = "Libpod"

// describe gives the answer to GET /containers/NAME/json, and who says so.
func (e engine) describe(ctx context.Context, nameOrID string) (body []byte, server string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := e.get(ctx, "/containers/"+url.PathEscape(nameOrID)+"/json")
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, "", err
	case len(body) > maxAnswer:
		return nil, "", fmt.Errorf("answer of more than %d bytes", maxAnswer)
	case resp.StatusCode == http.StatusNotFound:
		return nil, "", ErrNotFound
	case resp.StatusCode != http.StatusOK:
		return nil, "", fmt.Errorf("status %d: %.200q", resp.StatusCode, gjson.GetBytes(body, "message").String())
	}
	return body, resp.Header.Get("Server"), nil
}

func (e engine) get(ctx context.Context, pathAndQuery string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+pathAndQuery, nil)
	if err != nil {
		return nil, err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the made-up host
		}
		return nil, err
	}
	return resp, nil
}

// parseInspect reads the answer to GET /containers/NAME/json (Docker API 1.24
// and later; Podman has the path of the log elsewhere).
func parseInspect(body []byte) (Container, error) {
	j, err := object(body)
	if err != nil {
		return Container{}, fmt.Errorf("read answer: %w", err)
	}
	c := Container{
		ID:        j.Get("Id").String(),
		Name:      strings.TrimPrefix(j.Get("Name").String(), "/"),
		Running:   j.Get("State.Running").Bool(),
		LogDriver: j.Get("HostConfig.LogConfig.Type").String(),
		LogPath:   absolute(j.Get("LogPath").String()),
	}
	if !fullID(c.ID) {
		return Container{}, fmt.Errorf("read answer: container id %q: want %d hexadecimal digits", c.ID, idLen)
	}
	if checkName(c.Name) != nil {
		c.Name = ""
	}
	if c.LogPath == "" {
		c.LogPath = absolute(j.Get("HostConfig.LogConfig.Path").String())
	}
	if c.Running {
		c.PID = int(j.Get("State.Pid").Int())
	}
	return c, nil
}

// silence is why no engine told of a container.
type silence struct{ errs []error }

// Error leaves out sockets that do not exist, unless none does.
func (s silence) Error() string {
	var told, absent []string
	for _, err := range s.errs {
		if errors.Is(err, os.ErrNotExist) {
			absent = append(absent, err.Error())
		} else {
			told = append(told, err.Error())
		}
	}
	if told == nil {
		told = absent
	}
	return strings.Join(told, "; ")
}

func (s silence) Unwrap() []error { return s.errs }
