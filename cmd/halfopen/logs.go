package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"halfopen/collect"
	"halfopen/logtail"
)

// checkLog refuses a path given by --log that can't be followed as a file. One
// that does not exist is waited for.
func checkLog(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return usage("--log %q: %w", path, err)
	case !st.Mode().IsRegular():
		return usage("--log %q is a %s: want a regular file, to which the program appends", path, kindOf(st.Mode()))
	}
	var fsys unix.Statfs_t
	if err := unix.Statfs(path, &fsys); err != nil {
		return usage("--log %q: %w", path, err)
	}
	switch fsys.Type { // to read /proc/kmsg, or tracefs's trace_pipe, takes it from its reader
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC:
		return usage("--log %q is the kernel's, not a file on a disk: want one to which the program appends", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("--log %q: %w: run as root, or as a user who may read it", path, err)
	}
	return f.Close()
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}

// warnLog tells of a log that is not there yet; the recording says so too.
func warnLog(log string, out io.Writer) {
	if unit, ok := strings.CutPrefix(log, collect.JournalPrefix); ok {
		if has, err := logtail.JournalHas(context.Background(), unit); err == nil && !has {
			fmt.Fprintf(out, "halfopen: log %s: %s\n", log, logtail.NoJournalOf)
		}
	}
	if kindOfLog.MatchString(log) {
		return // not a file
	}
	if _, err := os.Stat(log); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if !logtail.IsGlob(log) {
		fmt.Fprintf(out, "halfopen: log %s does not exist yet; waiting for it\n", log)
	} else if found, err := filepath.Glob(log); err == nil && len(found) == 0 {
		fmt.Fprintf(out, "halfopen: no log is called %s yet; waiting for one\n", log)
	}
}
