package container_test

import (
	"archive/tar"
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
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"go.uber.org/goleak"
)

// TestMain ends the engine that a test started.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := started.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}))
}

const script = "../tools/dockerd"

// dockerd is the engine of all tests of this package.
type dockerd struct {
	once sync.Once
	host string // as DOCKER_HOST
	dir  string // "" when the engine is the caller's
	err  error
}

var started dockerd

// The folder of an engine is named for the test process that started it, so that
// the next run can clear away after one that was killed.
func engineDir(pid int) string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("halfopen-engine-%d", pid))
}

func (d *dockerd) start() {
	if d.host = os.Getenv("DOCKER_HOST"); d.host != "" {
		return
	}
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), "halfopen-engine-*"))
	for _, dir := range left {
		pid, err := strconv.Atoi(dir[strings.LastIndexByte(dir, '-')+1:])
		if _, gone := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil && gone != nil {
			exec.Command(script, "stop", dir).Run()
		}
	}
	d.dir = engineDir(os.Getpid())
	cmd := exec.Command(script, "start", d.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		d.err = fmt.Errorf("start a Docker engine: %w", err)
		return
	}
	d.host = strings.TrimPrefix(strings.TrimSpace(string(out)), "DOCKER_HOST=")
}

func (d *dockerd) stop() error {
	if d.dir == "" {
		return nil
	}
	if out, err := exec.Command(script, "stop", d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("stop the Docker engine: %w\n%s", err, out)
	}
	if _, err := os.Stat(d.dir); err == nil {
		return fmt.Errorf("stop the Docker engine: %s is still there", d.dir)
	}
	return nil
}

// api is the engine, asked by its socket.
type api struct {
	t    *testing.T
	host string
	http *http.Client
}

const image = "halfopen-party:test"

// docker starts the engine, unless it runs, points DOCKER_HOST to it and imports
// the image. It fails the test where that can't be done.
func docker(t *testing.T) api {
	t.Helper()
	started.once.Do(started.start)
	if started.err != nil {
		t.Fatal(started.err)
	}
	t.Setenv("DOCKER_HOST", started.host)
	socket := strings.TrimPrefix(started.host, "unix://")
	a := api{t, started.host, &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) },
	}}}
	importImage(a)
	return a
}

func (a api) call(method, path string, body io.Reader) gjson.Result {
	a.t.Helper()
	req, err := http.NewRequest(method, "http://engine"+path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.http.Do(req)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 400 {
		a.t.Fatalf("%s %s: %s: %s (%v)", method, path, resp.Status, answer, err)
	}
	return gjson.ParseBytes(answer)
}

var imported sync.Once

// importImage does what "docker import" does: a tar of one static program and
// its settings.
func importImage(a api) {
	a.t.Helper()
	imported.Do(func() {
		program, err := os.ReadFile(party(a.t))
		if err != nil {
			a.t.Fatal(err)
		}
		var tarball bytes.Buffer
		w := tar.NewWriter(&tarball)
		add := func(h tar.Header, body []byte) {
			h.Size = int64(len(body))
			if err := w.WriteHeader(&h); err != nil {
				a.t.Fatal(err)
			}
			if _, err := w.Write(body); err != nil {
				a.t.Fatal(err)
			}
		}
		add(tar.Header{Name: "filebeat", Mode: 0o755}, program)
		add(tar.Header{Name: "tmp", Typeflag: tar.TypeDir, Mode: 0o777}, nil)
		add(tar.Header{Name: "etc/filebeat/filebeat.yml", Mode: 0o600}, []byte(settings))
		if err := w.Close(); err != nil {
			a.t.Fatal(err)
		}
		a.call("POST", "/images/create?fromSrc=-&repo=halfopen-party&tag=test", &tarball)
	})
}

const settings = `
output.logstash:
  hosts: ["receiver:5044"]
http:
  enabled: true
  port: 5066
logging.files.path: /tmp
`

// party builds the program that plays the parties.
func party(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "party")
	cmd := exec.Command("go", "build", "-o", bin, "../discover/testdata/party")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the party: %v\n%s", err, out)
	}
	return bin
}

// run starts a container, and removes it with the test.
func (a api) run(name string, env ...string) (id string) {
	a.t.Helper()
	body, err := json.Marshal(map[string]any{
		"Image": image, "Env": env, "Cmd": []string{"/filebeat", "-e", "-c", "filebeat.yml", "--path.config", "/etc/filebeat"},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	id = a.call("POST", "/containers/create?name="+name, bytes.NewReader(body)).Get("Id").String()
	a.t.Cleanup(func() { a.call("DELETE", "/containers/"+id+"?force=1", nil) })
	a.do(id, "start")
	a.ready(id)
	return id
}

// do is "start", "stop", "restart" …
func (a api) do(id, verb string) {
	a.t.Helper()
	a.call("POST", "/containers/"+id+"/"+verb, nil)
}

// ready waits until the program has said as often as it was started that it is.
func (a api) ready(id string) {
	a.t.Helper()
	path := a.call("GET", "/containers/"+id+"/json", nil).Get("LogPath").String()
	await(a.t, "the container to be ready", func() bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), "ready")
	})
}

func (a api) address(id string) string {
	a.t.Helper()
	return a.call("GET", "/containers/"+id+"/json", nil).Get("NetworkSettings.IPAddress").String()
}

// await polls until cond holds.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(60 * time.Second)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-poll.C:
		}
	}
}
