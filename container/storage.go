package container

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// storage is where containers/storage keeps what lasts, and what is of this boot.
type storage struct{ lasting, boot string }

// storages are those of podman and CRI-O, and of podman without root: of the user
// who runs this, or called sudo.
func storages() []storage {
	out := []storage{{"/var/lib/containers/storage", "/run/containers/storage"}}
	id := strconv.Itoa(os.Geteuid())
	if id == "0" {
		id = os.Getenv("SUDO_UID")
	}
	u, err := user.LookupId(id)
	if err != nil || id == "0" {
		return out
	}
	for _, dir := range runtimeDirs() {
		out = append(out, storage{filepath.Join(u.HomeDir, ".local/share/containers/storage"), filepath.Join(dir, "containers")})
	}
	return out
}

// namesOf gives the names that a container answers to: its own, and where the
// kubelet made that of k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT, the pod's for it.
// The pod's own container is its "POD".
func namesOf(name string) (names []string) {
	if checkName(name) != nil {
		return nil
	}
	names = []string{name}
	if short, ok := ofPod(name); ok {
		names = append(names, short)
	}
	return names
}

func ofPod(name string) (string, bool) {
	part := strings.Split(name, "_")
	if len(part) < 6 || part[0] != "k8s" || checkName(part[1]) != nil {
		return "", false
	}
	return part[1], true
}

// stored reads what containers/storage keeps.
func (h Host) stored(s *survey) (out []record) {
	for _, at := range storages() {
		for _, path := range h.glob(s, at.lasting+"/*-containers/containers.json") {
			out = append(out, h.list(s, path, at.boot)...)
		}
	}
	return out
}

func (h Host) list(s *survey, path, boot string) []record {
	body, err := readTrusted(path)
	if err != nil {
		s.refused(path, err)
		return nil
	}
	records, err := parseStorage(body)
	if err != nil {
		return nil
	}
	for i := range records {
		for _, pidFile := range h.glob(s, boot+"/*-containers/"+records[i].ID+"/userdata/pidfile") {
			if digits, err := readTrusted(pidFile); err == nil {
				records[i].PID, _ = strconv.Atoi(strings.TrimSpace(string(digits))) // 0 is nobody
			}
		}
	}
	return records
}

func parseStorage(body []byte) ([]record, error) {
	if !gjson.ValidBytes(body) {
		return nil, errors.New("not JSON")
	}
	var out []record
	gjson.ParseBytes(body).ForEach(func(_, j gjson.Result) bool {
		r := record{Container: Container{ID: j.Get("id").String(), Engine: Podman}}
		if !fullID(r.ID) {
			return true
		}
		for _, n := range j.Get("names").Array() {
			r.names = append(r.names, namesOf(n.String())...)
			if _, ok := ofPod(n.String()); ok {
				r.Engine = CRIO
			}
		}
		out = append(out, r)
		return true
	})
	return out, nil
}
