package logtail

import (
	"bytes"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// markSize is how many bytes before the reading position are remembered and
// read again with what follows them: if they differ, the file was truncated and
// has grown past the position since.
const markSize = 256

// file is a held descriptor and the place reached in it.
type file struct {
	fd      int
	path    string // that it was opened by
	info    fileInfo
	serial  int    // of the files in the order of reading
	off     int64  // next byte to read
	seen    int64  // size when it was asked for last
	mark    []byte // the bytes before off, at most markSize
	head    []byte // the first bytes of what it holds now, at most markSize
	split   splitter
	active  time.Time // when it last gave a byte
	settled bool      // it was rotated away long ago: its unfinished line stays so
	trouble string    // read error already noted
}

// openFile opens a regular file, at its beginning.
func openFile(path string) (*file, error) {
	// Look before opening: to open a device can be to act on it.
	info, err := stat(path)
	if err != nil {
		return nil, err
	}
	if !info.regular() {
		return nil, fmt.Errorf("it is a %s; only regular files can be followed", info.kind())
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := &file{fd: fd, path: path, active: time.Now()}
	if f.info, err = f.stat(); err == nil && !f.info.regular() {
		err = fmt.Errorf("it is a %s; only regular files can be followed", f.info.kind())
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *file) close() { _ = unix.Close(f.fd) } // opened for reading: nothing to lose

func (f *file) stat() (fileInfo, error) { return statx(f.fd, "", unix.AT_EMPTY_PATH) }

// deleted reports whether f has no name any more.
func (f *file) deleted() bool {
	info, err := f.stat()
	return err == nil && info.names == 0
}

// grown reports whether f has another size than what was read of it.
func (f *file) grown() bool {
	info, err := f.stat()
	return err != nil || info.size != f.off
}

// pread reads once, so that one call sees one state of the file.
func (f *file) pread(p []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(f.fd, p, off)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// next reads the bytes at the position into buf behind the mark. It returns
// those that are new; ok is false if the mark is no longer there.
func (f *file) next(buf []byte) (fresh []byte, ok bool, err error) {
	k := len(f.mark)
	n, err := f.pread(buf, f.off-int64(k))
	if err != nil {
		return nil, true, err
	}
	if n < k || !bytes.Equal(buf[:k], f.mark) {
		return nil, false, nil
	}
	return buf[k:n], true, nil
}

// advance moves the position behind n bytes that next has put into buf.
func (f *file) advance(buf []byte, n int) {
	seen := buf[:len(f.mark)+n]
	if k := int64(len(f.head)); k < markSize && k == f.off {
		f.head = append(f.head, seen[len(f.mark):][:min(n, markSize-int(k))]...)
	}
	f.off += int64(n)
	f.mark = append(f.mark[:0], seen[max(0, len(seen)-markSize):]...)
	f.active = time.Now()
}

// seek sets the position. It reports false, and leaves it at 0, if the file
// does not reach that far.
func (f *file) seek(off int64) bool {
	mark := make([]byte, min(off, markSize))
	n, err := f.pread(mark, off-int64(len(mark)))
	if err != nil || n < len(mark) {
		return false
	}
	head := make([]byte, len(mark))
	if n, err := f.pread(head, 0); err != nil || n < len(head) {
		return false
	}
	f.off, f.mark, f.head = off, mark, head
	f.split.rewind(off)
	return true
}

// restart goes back to the beginning, after a truncation.
func (f *file) restart() {
	f.off, f.seen, f.mark, f.head, f.active = 0, 0, f.mark[:0], f.head[:0], time.Now()
	f.split.inode = f.info.id.ino
	f.split.rewind(0)
}

// copied reports whether c is a copy of f: whether its first line, as far as
// the head goes, is the same. That line has to be whole to tell anything.
func (f *file) copied(c *file) bool {
	buf := make([]byte, len(f.head))
	n, err := c.pread(buf, 0)
	if err != nil {
		return false
	}
	return bytes.Equal(buf[:n], f.head[:n]) && (n == markSize || bytes.IndexByte(buf[:n], '\n') >= 0)
}

// hasLine reports whether the first line is whole, as far as copied looks.
func (f *file) hasLine() bool {
	buf := make([]byte, markSize)
	n, err := f.pread(buf, 0)
	return err == nil && (n == markSize || bytes.IndexByte(buf[:n], '\n') >= 0)
}

// lineStart finds where the line that reaches over end begins. It looks back
// over one buffer; a longer line is taken up at end.
func (f *file) lineStart(end int64, buf []byte) int64 {
	from := max(0, end-int64(len(buf)))
	n, err := f.pread(buf[:end-from], from)
	if err != nil {
		return end
	}
	if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
		return from + int64(i) + 1
	}
	if from == 0 {
		return 0
	}
	return end
}

// atLineStart reports whether the position is the first byte of a line.
func (f *file) atLineStart() bool {
	return f.off == 0 || f.mark[len(f.mark)-1] == '\n'
}
