package logtail

import (
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// fileID names a file as long as a descriptor holds it; afterwards the kernel
// may give the same numbers to another one.
type fileID struct{ dev, ino uint64 }

// fileInfo is what statx(2) says of a file.
type fileInfo struct {
	id      fileID
	mode    uint16 // S_IFMT bits and permissions
	size    int64  // bytes
	names   uint32 // that it has; 0: it was deleted
	born    time.Time
	written time.Time // last change of content
	changed time.Time // last change of content or inode
}

// regular reports whether the file can be followed.
func (i fileInfo) regular() bool { return i.mode&unix.S_IFMT == unix.S_IFREG }

// kind names a file that is not regular.
func (i fileInfo) kind() string {
	switch i.mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFIFO:
		return "named pipe"
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "device"
	}
	return "special file"
}

// same reports whether two readings are of one file, even if none of them was
// held open: a number used again has another time of birth.
func (i fileInfo) same(j fileInfo) bool { return i.id == j.id && i.born.Equal(j.born) }

func stat(path string) (fileInfo, error) { return statx(unix.AT_FDCWD, path, 0) }
func lstat(path string) (fileInfo, error) {
	return statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW)
}

func statx(dir int, path string, flags int) (fileInfo, error) {
	var st unix.Statx_t
	err := unix.Statx(dir, path, flags, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	if err != nil {
		return fileInfo{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	info := fileInfo{
		id:      fileID{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino},
		mode:    st.Mode,
		size:    int64(st.Size),
		names:   st.Nlink,
		written: time.Unix(st.Mtime.Sec, int64(st.Mtime.Nsec)),
		changed: time.Unix(st.Ctime.Sec, int64(st.Ctime.Nsec)),
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		info.born = time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
	}
	return info, nil
}

// stampSlack is how far stampNow may be from a file stamped at the same time:
// two ticks of the slowest clock (HZ=100).
const stampSlack = 20 * time.Millisecond

// stampNow is the time by the clock that stamps files, which runs up to a tick
// behind the wall clock (include/linux/timekeeping.h, ktime_get_coarse_real_ts64).
func stampNow() time.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		return time.Now()
	}
	return time.Unix(ts.Unix())
}
