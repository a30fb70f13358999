package discover

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// logs notes the files that a program writes its own log to: those it has open
// for writing, else the newest where its settings say, and its container's. What
// a program puts out may be anything: it is taken for the log of one that is
// known, or was named.
func (f *finder) logs(k *process, set settings) {
	var own, output []string
	for fd, target := range k.targets {
		switch named := k.namedAsLog(target); {
		case !named && fd != 1 && fd != 2 || !k.writes(fd, target):
		case named:
			own = append(own, target)
		default:
			output = append(output, target)
		}
	}
	slices.Sort(own)
	for _, path := range slices.Compact(own) {
		k.Logs = append(k.Logs, k.root.outside+path)
		k.say("it has %s open for writing", path)
	}
	slices.Sort(output)
	for _, path := range slices.Compact(output) {
		if k.Kind == Unknown && !k.named {
			k.miss("its log: its output goes to %s, and it is no program that is known; if that is its log, name the program with --pid %d", k.root.outside+path, k.PID)
			continue
		}
		k.Logs = append(k.Logs, k.root.outside+path)
		k.say("its output goes to %s", path)
	}
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

// namedAsLog tells by the name of a file.
func (k *process) namedAsLog(path string) bool {
	name := filepath.Base(path)
	return slices.Contains([]string{".log", ".ndjson"}, filepath.Ext(name)) || strings.HasPrefix(name, k.Kind)
}

// writes reports whether a descriptor is of a regular file that is open for
// writing, as a log of one's own is; what a shipper ships it only reads. Its
// registry, which it writes, is called log.json.
func (k *process) writes(fd uintptr, target string) bool {
	if !filepath.IsAbs(target) || strings.HasSuffix(target, " (deleted)") || strings.Contains(target, "/registry/") || strings.HasPrefix(target, "/dev/") {
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
