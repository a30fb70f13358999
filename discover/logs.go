package discover

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// logs notes the files that a program writes its own log to: those it has open
// for writing, else the newest where its settings say, and its container's.
func (f *finder) logs(k *process, set settings) {
	for fd, target := range k.targets {
		if k.isLog(fd, target) && !slices.Contains(k.Logs, k.root.outside+target) {
			k.Logs = append(k.Logs, k.root.outside+target)
			k.say("it has %s open for writing", target)
		}
	}
	slices.Sort(k.Logs)
	if len(k.Logs) == 0 && set.logDir != "" {
		if path, ok := k.root.newest(set.logDir, set.logName); ok {
			k.Logs = append(k.Logs, path)
			k.say("%s is the newest log where its settings, or the defaults, put them", path)
		}
	}
	if c := k.Container; c != nil && c.LogPath != "" {
		k.Logs = append(k.Logs, c.LogPath)
		k.say("its container's output goes to %s (%s)", c.LogPath, c.LogDriver)
	}
}

// isLog passes over what a shipper reads (it opens those logs for reading only),
// and its registry, which is written and called log.json.
func (k *process) isLog(fd uintptr, target string) bool {
	if !filepath.IsAbs(target) || strings.HasSuffix(target, " (deleted)") || strings.Contains(target, "/registry/") || strings.HasPrefix(target, "/dev/") {
		return false
	}
	name := filepath.Base(target)
	output := fd == 1 || fd == 2
	if !output && !slices.Contains([]string{".log", ".ndjson"}, filepath.Ext(name)) && !strings.HasPrefix(name, k.Kind) {
		return false
	}
	info, err := k.proc.FDInfo(strconv.Itoa(int(fd)))
	if err != nil {
		return false
	}
	flags, err := strconv.ParseUint(info.Flags, 8, 64) // proc_pid_fdinfo(5): octal
	if err != nil || flags&unix.O_ACCMODE == unix.O_RDONLY {
		return false
	}
	file, _, err := k.root.resolve(k.root.inside(target))
	if err != nil {
		return false
	}
	defer file.Close()
	st, err := file.Stat()
	return err == nil && st.Mode().IsRegular()
}
