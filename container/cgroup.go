package container

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The names that Container.Engine has.
const (
	Docker     = "docker"
	Containerd = "containerd"
	CRIO       = "cri-o"
	Podman     = "podman"
)

// scopes are what engines put before a container's id in the name of a cgroup.
// conmon's own ("crio-conmon-", "libpod-conmon-") is not the container's.
var scopes = map[string]string{
	"docker":         Docker,
	"cri-containerd": Containerd,
	"nerdctl":        Containerd,
	"crio":           CRIO,
	"libpod":         Podman,
	"libpod-payload": Podman, // podman --cgroups=split
}

// parents are the cgroups that engines keep containers in whose name is the bare
// id: the cgroupfs driver. Kubernetes' pods are kept so by several engines.
var parents = map[string]string{
	"docker":  Docker,
	"ecs":     Docker,
	"default": Containerd, // containerd's namespaces
	"k8s.io":  Containerd,
}

// OfPID tells which container a process is in; ok is false for none, for a
// container whose id is not of 64 hexadecimal digits, and for a process that
// has ended. It needs no rights. See ParseCgroup.
func OfPID(pid int) (id, engine string, ok bool) { return Host{}.OfPID(pid) }

// OfPID is the package's OfPID on another host.
func (h Host) OfPID(pid int) (id, engine string, ok bool) {
	text, err := h.cgroup(pid)
	if err != nil {
		return "", "", false
	}
	return ParseCgroup(text)
}

func (h Host) cgroup(pid int) ([]byte, error) {
	return os.ReadFile(filepath.Join(h.proc(), strconv.Itoa(pid), "cgroup"))
}

// ParseCgroup reads the text of /proc/PID/cgroup (cgroups(7)), version 1 or 2,
// and gives the id of the innermost container. engine is empty where the cgroup
// does not tell it: pods of Kubernetes under the cgroupfs driver, and parents
// chosen by --cgroup-parent.
func ParseCgroup(text []byte) (id, engine string, ok bool) {
	for line := range bytes.Lines(text) {
		n, e, found := innermost(cgroupPath(line))
		if !found {
			continue
		}
		if e != "" {
			return n, e, true
		}
		if !ok {
			id, ok = n, true
		}
	}
	return id, "", ok
}

// cgroupPath is what follows the second colon of a line: hierarchy, controllers,
// path. The path may hold colons itself. The kernel marks a removed one.
func cgroupPath(line []byte) string {
	part := bytes.SplitN(bytes.TrimRight(line, "\n"), []byte(":"), 3)
	if len(part) < 3 {
		return ""
	}
	return strings.TrimSuffix(string(part[2]), " (deleted)")
}

// innermost goes from the end: engines run inside containers, and a container
// may divide its own cgroup ("…/init.scope", "…/container").
func innermost(path string) (id, engine string, ok bool) {
	elems := strings.Split(path, "/")
	for i := len(elems) - 1; i >= 0; i-- {
		scope, n := splitElement(elems[i])
		if !fullID(n) {
			continue
		}
		if scope != "" {
			if engine, ok = scopes[scope]; ok {
				return n, engine, true
			}
			continue
		}
		for _, p := range elems[:i] {
			if e, known := parents[p]; known {
				engine = e
			}
		}
		return n, engine, true
	}
	return "", "", false
}

// splitElement reads "docker-ID.scope", "ID", and what the systemd spelling
// becomes under the cgroupfs driver: "kubepods-….slice:cri-containerd:ID".
func splitElement(s string) (scope, id string) {
	s = strings.TrimSuffix(s, ".scope")
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		scope, id = s[:i], s[i+1:]
		return scope[strings.LastIndexByte(scope, ':')+1:], id
	}
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return "", s
}

// idLen is the length of an id: 32 random bytes in hexadecimal.
const idLen = 64

func fullID(s string) bool { return len(s) == idLen && isHex(s) }

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdef") == ""
}

// holds reports whether a process with this cgroup text is in the container. An
// id of containerd need not be hexadecimal (ctr run … redis).
func holds(text []byte, id string) bool {
	for line := range bytes.Lines(text) {
		for elem := range strings.SplitSeq(cgroupPath(line), "/") {
			elem = strings.TrimSuffix(elem, ".scope")
			if elem == id || strings.HasSuffix(elem, "-"+id) || strings.HasSuffix(elem, ":"+id) {
				return id != ""
			}
		}
	}
	return false
}
