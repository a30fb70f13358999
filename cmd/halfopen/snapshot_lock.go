package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/collect"
)

// busyError says that another snapshot of the series is under way.
type busyError struct {
	dir, pid string
	since    time.Duration
}

func (b busyError) Error() string {
	return fmt.Sprintf("another snapshot is under way in %q, by process %s, for %s: try again when it is done, or end it", b.dir, b.pid, b.since.Round(time.Second))
}

// lasts reports whether it should have ended long ago.
func (b busyError) lasts(timeout time.Duration) bool { return b.since > 2*timeout }

func lockFile(dir, experiment string) string {
	return filepath.Join(dir, experiment+"-snapshot.lock")
}

// lockSeries makes this process the only one that adds to a series. The lock
// (flock(2)) goes with the process, whatever ends it; the file stays.
func lockSeries(dir, experiment string) (unlock func(), err error) {
	if err := collect.Folder(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(lockFile(dir, experiment), os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o640) // a link would have root overwrite what it leads to
	if err != nil {
		return nil, fmt.Errorf("lock the evidence folder: %w; name a folder you may write to with --evidence", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close()
		busy := busyError{dir: dir, pid: "unknown"}
		var pid [16]byte
		if n, _ := f.ReadAt(pid[:], 0); n > 0 {
			busy.pid = strings.TrimSpace(string(pid[:n]))
		}
		if st, err := f.Stat(); err == nil {
			busy.since = max(0, time.Since(st.ModTime()))
		}
		return nil, busy
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock the evidence folder %q: %w", dir, err)
	}
	// Who and since when: for the others alone, so a full disk does not matter.
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	now := time.Now()
	_ = os.Chtimes(f.Name(), now, now)
	return func() { f.Close() }, nil
}
