package container

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/tidwall/gjson"
)

// maxFile is more than any file of an engine that is read here has, in bytes.
const maxFile = 4 << 20

// Where engines keep what they know of containers.
var (
	dockerRoots = []string{"/var/lib/docker"}
	// containerd's tasks: its own, the one that dockerd starts, k3s, microk8s.
	// The next folder is the namespace, below it the container.
	taskRoots = []string{
		"/run/containerd/io.containerd.runtime.v2.task",
		"/run/docker/containerd/daemon/io.containerd.runtime.v2.task",
		"/run/k3s/containerd/io.containerd.runtime.v2.task",
		"/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task",
	}
	// The kubelet's links to the log files of containers: …-ID.log.
	kubeletLogs = "/var/log/containers"
)

// record is what the files of an engine say of a container; its PID is a claim.
type record struct {
	Container
	names []string
}

// records reads the files of all engines.
func (h Host) records(s *survey) []record {
	var out []record
	roots := append([]string(nil), dockerRoots...)
	for _, c := range s.known {
		if r, ok := h.dataRoot(c.Container); ok {
			roots = append(roots, r)
		}
	}
	read := map[string]bool{}
	for _, root := range roots {
		for _, path := range h.glob(s, root+"/containers/*/config.v2.json") {
			if !read[path] {
				out = appendRecord(out, path, s, parseDockerConfig)
			}
			read[path] = true
		}
	}
	for _, root := range taskRoots {
		for _, path := range h.glob(s, root+"/*/*/init.pid") {
			if r, ok := h.task(s, path); ok {
				out = append(out, r)
			}
		}
	}
	out = append(out, h.stored(s)...)
	for _, path := range h.glob(s, kubeletLogs+"/*.log") {
		if id := path[strings.LastIndexByte(path, '-')+1 : len(path)-len(".log")]; fullID(id) {
			out = append(out, record{Container: Container{ID: id, LogPath: path, LogDriver: "cri"}})
		}
	}
	return out
}

func appendRecord(out []record, path string, s *survey, parse func([]byte) (record, error)) []record {
	body, err := readTrusted(path)
	if err != nil {
		s.refused(path, err)
		return out
	}
	// Docker renames a folder before it removes it; its id is no folder's then.
	r, err := parse(body)
	if err != nil || r.ID != filepath.Base(filepath.Dir(path)) {
		return out
	}
	return append(out, r)
}

// parseDockerConfig reads config.v2.json (moby, container.Container).
func parseDockerConfig(body []byte) (record, error) {
	j, err := object(body)
	if err != nil {
		return record{}, err
	}
	r := record{Container: Container{ID: j.Get("ID").String(), Engine: Docker, PID: int(j.Get("State.Pid").Int())}}
	if !fullID(r.ID) {
		return record{}, fmt.Errorf("container id %q: want %d hexadecimal digits", r.ID, idLen)
	}
	r.names = namesOf(strings.TrimPrefix(j.Get("Name").String(), "/"))
	r.LogPath = absolute(j.Get("LogPath").String())
	if r.LogPath != "" && strings.HasSuffix(r.LogPath, "-json.log") {
		r.LogDriver = "json-file"
	}
	return r, nil
}

// task reads the bundle of a containerd task: init.pid and, for its names,
// config.json (OCI runtime specification).
func (h Host) task(s *survey, pidFile string) (record, bool) {
	dir := filepath.Dir(pidFile)
	r := record{Container: Container{ID: filepath.Base(dir), Engine: Containerd}}
	if filepath.Base(filepath.Dir(dir)) == "moby" {
		r.Engine = Docker
	}
	digits, err := readTrusted(pidFile)
	if err != nil {
		s.refused(pidFile, err)
		return r, false
	}
	if r.PID, err = strconv.Atoi(strings.TrimSpace(string(digits))); err != nil {
		return r, false
	}
	if config, err := readTrusted(filepath.Join(dir, "config.json")); err == nil {
		r.names = parseAnnotations(config)
	}
	return r, true
}

// parseAnnotations gives the names that Kubernetes and nerdctl note in a bundle.
func parseAnnotations(config []byte) []string {
	j, err := object(config)
	if err != nil {
		return nil
	}
	var names []string
	for _, key := range []string{"nerdctl/name", `io\.kubernetes\.cri\.container-name`, `io\.kubernetes\.container\.name`} {
		if name := j.Get("annotations." + key).String(); checkName(name) == nil {
			names = append(names, name)
		}
	}
	return names
}

func object(body []byte) (gjson.Result, error) {
	if !gjson.ValidBytes(body) {
		return gjson.Result{}, fmt.Errorf("not JSON: %.80q", body)
	}
	j := gjson.ParseBytes(body)
	if !j.IsObject() {
		return j, fmt.Errorf("not a JSON object: %.80q", body)
	}
	return j, nil
}

func absolute(path string) string {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsRune(path, 0) {
		return ""
	}
	return path
}

// glob gives the paths of this host that match; a folder that can't be listed is
// noted, since filepath.Glob is silent about it.
func (h Host) glob(s *survey, pattern string) []string {
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '*' {
			if _, err := os.ReadDir(h.Root + filepath.Dir(pattern[:i+1])); err != nil {
				s.refused(h.Root+filepath.Dir(pattern[:i+1]), err)
			}
			break
		}
	}
	paths, err := filepath.Glob(h.Root + pattern)
	if err != nil {
		return nil // only a pattern that is wrong
	}
	return paths
}

func (s *survey) refused(path string, err error) {
	if errors.Is(err, fs.ErrPermission) && len(s.denied) < 8 {
		s.denied = append(s.denied, path)
	}
}

// readTrusted reads a file that only root, or whoever runs this or called sudo,
// can have written: a file of somebody else could name a log that is not the
// container's.
func readTrusted(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not to wait for a pipe's writer
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	uid := int(st.Sys().(*syscall.Stat_t).Uid)
	caller := os.Geteuid() == 0 && os.Getenv("SUDO_UID") == strconv.Itoa(uid)
	if !st.Mode().IsRegular() || uid != 0 && uid != os.Geteuid() && !caller {
		return nil, fmt.Errorf("read %q: not a file of root", path)
	}
	body, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(body) > maxFile {
		err = fmt.Errorf("read %q: more than %d bytes", path, maxFile)
	}
	return body, err
}
