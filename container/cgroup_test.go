package container

import (
	"strings"
	"testing"
)

const (
	idA = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"
	idB = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
)

// Lines as engines and drivers make them, A and B standing for ids.
var cgroupLines = []struct {
	name, text, id, engine string
}{
	{"docker, v1 cgroupfs", "12:pids:/docker/A\n11:cpu,cpuacct:/docker/A\n1:name=systemd:/docker/A\n0::/system.slice/containerd.service\n", idA, Docker},
	{"docker, v1 systemd", "1:name=systemd:/system.slice/docker-A.scope\n", idA, Docker},
	{"docker, v2 systemd", "0::/system.slice/docker-A.scope\n", idA, Docker},
	{"docker, v2 cgroupfs", "0::/docker/A\n", idA, Docker},
	{"docker, rootless", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-A.scope\n", idA, Docker},
	{"docker in docker", "4:memory:/docker/A/docker/B\n", idB, Docker},
	{"docker, systemd inside", "1:name=systemd:/docker/A/init.scope\n", idA, Docker},
	{"docker, a service inside", "1:name=systemd:/docker/A/system.slice/filebeat.service\n", idA, Docker},
	{"docker, seen from a sibling", "0::/../A\n", idA, ""},
	{"docker, --cgroup-parent", "9:memory:/shippers/A\n", idA, ""},
	{"docker, removed", "9:memory:/docker/A (deleted)\n", idA, Docker},
	{"ECS", "9:perf_event:/ecs/0b7e8a4f1c2d4e5f8a9b0c1d2e3f4a5b/A\n", idA, Docker},
	{"Kubernetes with dockershim, cgroupfs", "11:memory:/kubepods/besteffort/pod3f1c0a1e-2b4d-4c6e-8f90-112233445566/A\n", idA, ""},
	{"Kubernetes with dockershim, systemd", "11:memory:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod3f1c0a1e_2b4d.slice/docker-A.scope\n", idA, Docker},
	{"containerd by CRI, systemd", "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod3f1c0a1e_2b4d.slice/cri-containerd-A.scope\n", idA, Containerd},
	{"containerd by CRI, the wrong driver", "10:memory:/system.slice/containerd.service/kubepods-burstable-pod3f1c0a1e_2b4d.slice:cri-containerd:A\n", idA, Containerd},
	{"containerd by CRI, cgroupfs", "0::/k8s.io/A\n", idA, Containerd},
	{"kind: containerd in docker", "0::/docker/A/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1.slice/cri-containerd-B.scope\n", idB, Containerd},
	{"nerdctl, systemd", "0::/system.slice/nerdctl-A.scope\n", idA, Containerd},
	{"nerdctl, cgroupfs", "5:cpuset:/default/A\n", idA, Containerd},
	{"ctr, a name for an id", "5:cpuset:/default/redis\n", "", ""},
	{"CRI-O, systemd", "0::/kubepods.slice/kubepods-pod3f1c.slice/crio-A.scope\n", idA, CRIO},
	{"CRI-O with crun", "0::/kubepods.slice/kubepods-pod3f1c.slice/crio-A.scope/container\n", idA, CRIO},
	{"CRI-O, cgroupfs", "3:pids:/kubepods/pod3f1c/crio-A\n", idA, CRIO},
	{"CRI-O's conmon", "0::/system.slice/crio-conmon-A.scope\n", "", ""},
	{"podman, root", "0::/machine.slice/libpod-A.scope/container\n", idA, Podman},
	{"podman, v1", "7:devices:/machine.slice/libpod-A.scope\n", idA, Podman},
	{"podman, rootless", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-A.scope/container\n", idA, Podman},
	{"podman, cgroupfs", "0::/libpod_parent/libpod-A\n", idA, Podman},
	{"podman, in a pod", "0::/machine.slice/machine-libpod_pod_B.slice/libpod-A.scope\n", idA, Podman},
	{"podman, only the pod", "0::/machine.slice/machine-libpod_pod_B.slice\n", "", ""},
	{"podman, --cgroups=split", "0::/system.slice/filebeat.service/libpod-payload-A\n", idA, Podman},
	{"podman's conmon", "0::/machine.slice/libpod-conmon-A.scope\n", "", ""},
	{"one hierarchy tells the engine", "4:memory:/shippers/A\n3:pids:/docker/A\n", idA, Docker},
	{"no container", "0::/system.slice/filebeat.service\n", "", ""},
	{"root", "0::/\n", "", ""},
	{"a session", "0::/user.slice/user-1000.slice/session-2.scope\n", "", ""},
	{"buildkit", "0::/docker/buildkit/r2u9s0u4ch2m0l1b1zy3p4q5w\n", "", ""},
	{"LXC", "2:cpu:/lxc/shipper\n", "", ""},
	{"upper case is no id", "0::/docker/" + strings.ToUpper(idB) + "\n", "", ""},
	{"a digit short", "0::/docker/" + idA[1:] + "\n", "", ""},
	{"cut line", "0:\n:\n\n12", "", ""},
}

func ids(s string) string {
	return strings.NewReplacer("/A", "/"+idA, "-A", "-"+idA, ":A", ":"+idA, "/B", "/"+idB, "-B", "-"+idB, "_B", "_"+idB).Replace(s)
}

func TestParseCgroup(t *testing.T) {
	for _, tc := range cgroupLines {
		t.Run(tc.name, func(t *testing.T) {
			text := []byte(ids(tc.text))
			id, engine, ok := ParseCgroup(text)
			if id != tc.id || engine != tc.engine || ok != (tc.id != "") {
				t.Errorf("%s\ngives %q, %q, %v; want %q, %q", text, id, engine, ok, tc.id, tc.engine)
			}
			if ok && !holds(text, id) {
				t.Errorf("%s\ndoes not hold %s", text, id)
			}
		})
	}
	if !holds([]byte("5:cpuset:/default/redis\n"), "redis") || holds([]byte("5:cpuset:/default/redis\n"), "red") || holds([]byte("0::/\n"), "") {
		t.Error("an id of containerd's: want redis, and no part of it")
	}
}

func FuzzParseCgroup(f *testing.F) {
	for _, tc := range cgroupLines {
		f.Add([]byte(ids(tc.text)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		id, engine, ok := ParseCgroup(text)
		if ok != fullID(id) || !ok && engine != "" {
			t.Errorf("%q gives %q, %q, %v", text, id, engine, ok)
		}
		if ok && !holds(text, id) {
			t.Errorf("%q gives %q, which it does not hold", text, id)
		}
	})
}
