package container

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// dataRoot finds Docker's data folder where it is not /var/lib/docker. Docker
// mounts DATA/containers/ID/hosts (hostname, resolv.conf) over the container's
// own, so the container's mount table names the folder.
func (h Host) dataRoot(c Container) (string, bool) {
	text, err := os.ReadFile(filepath.Join(h.proc(), strconv.Itoa(c.PID), "mountinfo"))
	if err != nil {
		return "", false
	}
	root, ok := parseDataRoot(text, c.ID)
	if !ok || strings.ContainsAny(root, `*?[\`) {
		return "", false // a container may name a mount as it likes
	}
	if _, err := os.Stat(filepath.Join(h.Root+root, "containers", c.ID, "config.v2.json")); err != nil {
		return "", false // the path is of the file system it lies on, which may be mounted elsewhere
	}
	return root, true
}

// parseDataRoot reads /proc/PID/mountinfo: field 4 is the path within the file
// system, field 5 the mount point (proc_pid_mountinfo(5)).
func parseDataRoot(text []byte, id string) (string, bool) {
	for line := range bytes.Lines(text) {
		field := bytes.Fields(line)
		if len(field) < 5 || string(field[4]) != "/etc/hosts" && string(field[4]) != "/etc/hostname" {
			continue
		}
		if root, ok := strings.CutSuffix(filepath.Dir(string(field[3])), "/containers/"+id); ok && absolute(root) != "" {
			return root, true
		}
	}
	return "", false
}
