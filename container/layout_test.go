package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/procfs"
)

// inCgroup starts a process in a cgroup of the kernel's that is named as an
// engine would name it, and takes both away with the test.
func inCgroup(t *testing.T, path string) int {
	t.Helper()
	base := filepath.Join(cgroupRoot(t), fmt.Sprintf("halfopen-test-%d", os.Getpid()))
	dir := filepath.Join(base, path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		for d := dir; strings.HasPrefix(d, base); d = filepath.Dir(d) {
			if err := os.Remove(d); err != nil && d == dir {
				t.Error(err)
			}
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// cgroupRoot is a cgroup hierarchy that this process may make cgroups in.
func cgroupRoot(t *testing.T) string {
	t.Helper()
	mounts, err := procfs.GetMounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"cgroup2", "cgroup"} {
		for _, m := range mounts {
			if m.FSType == kind {
				probe := filepath.Join(m.MountPoint, fmt.Sprintf("halfopen-test-%d", os.Getpid()))
				if os.MkdirAll(probe, 0o755) == nil {
					os.Remove(probe)
					return m.MountPoint
				}
			}
		}
	}
	t.Fatal("no cgroup can be made here (needs root)")
	return ""
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A container is found by what each engine leaves on a host, with no engine to
// ask. DIR of the files is the host's root; %d is the process.
func TestLayouts(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	const (
		task    = "/run/containerd/io.containerd.runtime.v2.task"
		storage = "/var/lib/containers/storage/overlay-containers"
	)
	for _, tc := range []struct {
		name, cgroup string
		files        map[string]string
		ask          string
		want         Container
	}{
		{"docker", "docker/" + idA, map[string]string{"/var/lib/docker/containers/" + idA + "/config.v2.json": dockerConfig}, "filebeat",
			Container{ID: idA, Name: "filebeat", Engine: Docker, LogDriver: "json-file", LogPath: "/data/containers/" + idA + "/" + idA + "-json.log"}},
		{"Kubernetes on docker", "kubepods.slice/kubepods-pod1.slice/docker-" + idA + ".scope", map[string]string{
			"/var/lib/docker/containers/" + idA + "/config.v2.json": strings.Replace(dockerConfig, "/filebeat", "/k8s_filebeat_filebeat-x7k2p_logging_3f1c0a1e-2b4d_0", 1),
		}, "filebeat",
			Container{ID: idA, Name: "filebeat", Engine: Docker, LogDriver: "json-file", LogPath: "/data/containers/" + idA + "/" + idA + "-json.log"}},
		{"docker by its containerd", "shippers/" + idA, map[string]string{task + "/moby/" + idA + "/init.pid": "%d"}, idA[:8],
			Container{ID: idA, Engine: Docker}},
		{"nerdctl", "system.slice/nerdctl-" + idA + ".scope", map[string]string{
			task + "/default/" + idA + "/init.pid":    "%d",
			task + "/default/" + idA + "/config.json": `{"annotations":{"nerdctl/name":"filebeat"}}`,
		}, "filebeat", Container{ID: idA, Name: "filebeat", Engine: Containerd}},
		{"ctr", "default/redis", map[string]string{task + "/default/redis/init.pid": "%d"}, "redis",
			Container{ID: "redis", Engine: Containerd}},
		{"Kubernetes on containerd", "kubepods.slice/kubepods-pod1.slice/cri-containerd-" + idA + ".scope", map[string]string{
			task + "/k8s.io/" + idA + "/init.pid":                                 "%d",
			task + "/k8s.io/" + idA + "/config.json":                              `{"annotations":{"io.kubernetes.cri.container-name":"filebeat"}}`,
			"/var/log/containers/filebeat-x7k2p_logging_filebeat-" + idA + ".log": "",
		}, "filebeat", Container{ID: idA, Name: "filebeat", Engine: Containerd, LogDriver: "cri",
			LogPath: "DIR/var/log/containers/filebeat-x7k2p_logging_filebeat-" + idA + ".log"}},
		{"CRI-O", "kubepods.slice/crio-" + idA + ".scope", map[string]string{storage + "/containers.json": storageList}, "filebeat",
			Container{ID: idA, Name: "filebeat", Engine: CRIO}},
		{"podman", "machine.slice/libpod-" + idB + ".scope/container", map[string]string{
			storage + "/containers.json": storageList,
			"/run/containers/storage/overlay-containers/" + idB + "/userdata/pidfile": "%d",
		}, "shipper", Container{ID: idB, Name: "shipper", Engine: Podman}},
		{"nothing but the cgroup", "machine.slice/libpod-" + idB + ".scope", nil, idB[:6], Container{ID: idB, Engine: Podman}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := Host{Root: t.TempDir()}
			pid := inCgroup(t, tc.cgroup)
			for path, text := range tc.files {
				write(t, h.Root+path, strings.ReplaceAll(text, "%d", strconv.Itoa(pid)))
			}
			got, err := h.Find(t.Context(), tc.ask)
			if err != nil {
				t.Fatal(err)
			}
			if !got.Running || got.PID != pid || got.StartTime == 0 || got.NetNS != fmt.Sprintf("/proc/%d/ns/net", pid) {
				t.Errorf("found %+v, want process %d", got, pid)
			}
			tc.want.Running, tc.want.PID, tc.want.StartTime, tc.want.NetNS = got.Running, got.PID, got.StartTime, got.NetNS
			if tc.want.LogPath = strings.Replace(tc.want.LogPath, "DIR", h.Root, 1); got != tc.want {
				t.Errorf("found %+v\nwant  %+v", got, tc.want)
			}
		})
	}
}

// What podman keeps for the user who called sudo is read, and another user's not.
func TestLayoutOfUser(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	t.Setenv("SUDO_UID", "65534")
	him, err := user.LookupId("65534")
	if err != nil {
		t.Fatal(err)
	}
	h := Host{Root: t.TempDir()}
	pid := inCgroup(t, "user.slice/user-65534.slice/user@65534.service/user.slice/libpod-"+idB+".scope/container")
	list := h.Root + him.HomeDir + "/.local/share/containers/storage/overlay-containers/containers.json"
	write(t, list, storageList)
	write(t, h.Root+"/run/user/65534/containers/overlay-containers/"+idB+"/userdata/pidfile", strconv.Itoa(pid))
	for uid, known := range map[int]bool{0: true, 65534: true, 65533: false} {
		if err := os.Chown(list, uid, -1); err != nil {
			t.Fatal(err)
		}
		got, err := h.Find(t.Context(), "shipper")
		if !known {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("by a file of user %d: %+v, %v", uid, got, err)
			}
			continue
		}
		if err != nil || got.ID != idB || got.PID != pid || got.Engine != Podman || got.Name != "shipper" {
			t.Errorf("by a file of user %d: %+v, %v, want process %d", uid, got, err, pid)
		}
	}
}

// A file's word for a process is not taken when the kernel says otherwise, nor a
// file that is not root's.
func TestLies(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	h := Host{Root: t.TempDir()}
	config := h.Root + "/var/lib/docker/containers/" + idA + "/config.v2.json"
	write(t, config, strings.Replace(dockerConfig, "4711", strconv.Itoa(os.Getpid()), 1))
	c, err := h.Find(t.Context(), "filebeat")
	if err != nil || c.Running || c.PID != 0 {
		t.Errorf("a process that is not the container's: %+v, %v", c, err)
	}
	if err := os.Chown(config, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if c, err := h.Find(t.Context(), "filebeat"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file of nobody's was believed: %+v, %v", c, err)
	}
	write(t, h.Root+"/var/lib/docker/containers/"+idB+"/config.v2.json", dockerConfig)
	if c, err := h.Find(t.Context(), "filebeat"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file in another container's folder was believed: %+v, %v", c, err)
	}
}

func TestAmbiguous(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	h := Host{Root: t.TempDir()}
	twin := strings.Replace(idA, "f9", "00", 1)
	for _, id := range []string{idA, twin} {
		write(t, h.Root+"/var/lib/docker/containers/"+id+"/config.v2.json", strings.ReplaceAll(dockerConfig, idA, id))
		inCgroup(t, "docker/"+id)
	}
	for _, name := range []string{"filebeat", idA[:10]} {
		if c, err := h.Find(t.Context(), name); err == nil || !strings.Contains(err.Error(), "2 containers") {
			t.Errorf("%q is %+v, %v", name, c, err)
		}
	}
}

// What exec brings into a container is not its first process.
func TestFirstProcess(t *testing.T) {
	t.Setenv("DOCKER_HOST", "")
	h := Host{Root: t.TempDir()}
	first := inCgroup(t, "docker/"+idA)
	later := exec.Command("sleep", "600")
	if err := later.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { later.Process.Kill(); later.Wait() })
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", first))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if dir := filepath.Join(cgroupRoot(t), cgroupPath(line)); bytes.Contains(line, []byte(idA)) {
			if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(later.Process.Pid)), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if id, _, _ := OfPID(later.Process.Pid); id != idA {
		t.Fatalf("the later process is in %q", id)
	}
	if c, err := h.Find(t.Context(), idA); err != nil || c.PID != first {
		t.Errorf("found %+v, %v, want process %d", c, err, first)
	}
}

func TestDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, "filebeat"); !errors.Is(err, context.Canceled) {
		t.Errorf("Find: %v", err)
	}
}
