package collect

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/logtail"
)

// lifeLog is the log of a program over its lives. A restart may give it another
// file, or the same one by another path (/proc/PID/root).
type lifeLog struct {
	began time.Time // of the recording
	now   *Logs     // nil before there is one
	end   func()    // ends now, when all that is there is read
}

// follow goes on with the log of the present life. The first one begins as it
// says itself.
func (l *lifeLog) follow(path string, open func(path string) *Logs, start func(*Logs) (end func())) {
	if l.now != nil && l.now.Path == path {
		return
	}
	next := open(path)
	file := look(path) // while the file before is held open: its number can't be another's
	l.end()
	if l.now != nil {
		next.From = l.from(file)
	}
	next.read, next.at = file.end, time.Now()
	l.now, l.end = next, start(next)
}

// from tells where to begin in the log of a later life: where the one before
// ended, if it is the same file; at the beginning of one that was made since the
// recording began, for its first lines were written before the new life was
// noticed. A file of long ago is read from now on.
func (l *lifeLog) from(file logFile) logtail.Start {
	switch {
	case file.ino != 0 && file.ino == l.now.read.Inode && !file.born.After(l.now.at):
		return l.now.read
	case file.born.IsZero() || file.born.After(l.began.Add(-stampTick)):
		return logtail.FromBeginning
	}
	return logtail.FromNow
}

// stampTick is by how much the clock that stamps files may be behind the wall
// clock: two ticks of the slowest kernel (HZ=100).
const stampTick = 20 * time.Millisecond

// logFile is what is known of a file before it is followed.
type logFile struct {
	ino  uint64           // 0 where there is none
	born time.Time        // zero where the file system does not tell
	end  logtail.Position // of its last line; zero where that is not whole
}

func look(path string) (f logFile) {
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return f // to open a device can be to act on it
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return f
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st); err != nil {
		return f
	}
	f.ino = st.Ino
	if st.Mask&unix.STATX_BTIME != 0 {
		f.born = time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
	}
	last := make([]byte, 1)
	if n, err := unix.Pread(fd, last, int64(st.Size)-1); st.Size == 0 || err == nil && n == 1 && last[0] == '\n' {
		f.end = logtail.Position{Inode: st.Ino, Offset: int64(st.Size)}
	}
	return f
}
