package discover

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxFile is above the size of any settings file, in bytes.
const maxFile = 1 << 20

// root is the file system as a process sees it.
type root struct {
	proc string // the proc file system
	dir  string // PROC/PID/root
	at   string // where that lies, in the process' mount namespace
	cwd  string // from there
	// outside is what to put before a path to open it from here: nothing where
	// the process has this one's mount namespace.
	outside string
}

func openRoot(proc string, pid int) root {
	p := filepath.Join(proc, strconv.Itoa(pid))
	r := root{proc: proc, dir: filepath.Join(p, "root"), at: "/", cwd: "/"}
	if at, err := os.Readlink(r.dir); err == nil {
		r.at = at
	}
	if cwd, err := os.Readlink(filepath.Join(p, "cwd")); err == nil {
		r.cwd = r.inside(cwd)
	}
	own, err := os.Readlink(filepath.Join(proc, "self", "ns", "mnt"))
	if its, itsErr := os.Readlink(filepath.Join(p, "ns", "mnt")); err != nil || itsErr != nil || own != its {
		r.outside = r.dir
	}
	return r
}

// inside gives a path of the mount namespace as the process spells it, which may
// be in a chroot.
func (r root) inside(path string) string {
	if rest, ok := strings.CutPrefix(path, r.at); ok && r.at != "/" && (rest == "" || rest[0] == '/') {
		return "/" + strings.TrimPrefix(rest, "/")
	}
	return path
}

// resolve finds what a path of the process names, whatever links stand in it,
// absolute ones included, without leaving its root (openat2(2), Linux 5.6). The
// descriptor is only a name of it (O_PATH): to open the file itself could start
// a device or wait for a pipe. real is the path without links.
func (r root) resolve(path string) (f *os.File, real string, err error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.cwd, path)
	}
	dir, err := unix.Open(r.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", &os.PathError{Op: "open", Path: r.dir, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, path, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, "", &os.PathError{Op: "open", Path: filepath.Join(r.dir, path), Err: err}
	}
	f = os.NewFile(uintptr(fd), path)
	if real, err = os.Readlink(r.self(f)); err != nil || !filepath.IsAbs(real) || strings.HasSuffix(real, " (deleted)") {
		f.Close()
		return nil, "", fmt.Errorf("resolve %q below %q: it has no path (%q, %v)", path, r.dir, real, err)
	}
	return f, real, nil
}

func (r root) self(f *os.File) string {
	return filepath.Join(r.proc, "self", "fd", strconv.Itoa(int(f.Fd())))
}

// read reads a regular file and gives its path as seen from here.
func (r root) read(path string) (body []byte, from string, err error) {
	name, real, err := r.resolve(path)
	if err != nil {
		return nil, "", err
	}
	defer name.Close()
	st, err := name.Stat()
	if err != nil {
		return nil, "", err
	}
	if !st.Mode().IsRegular() {
		return nil, "", fmt.Errorf("read %q: not a regular file", real)
	}
	f, err := os.Open(r.self(name))
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	body, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(body) > maxFile {
		err = fmt.Errorf("read %q: more than %d bytes", real, maxFile)
	}
	return body, r.outside + real, err
}

// entries lists a folder, of which real is the path without links.
func (r root) entries(folder string) (list []os.DirEntry, real string, err error) {
	const most = 10_000 // names
	name, real, err := r.resolve(folder)
	if err != nil {
		return nil, "", err
	}
	defer name.Close()
	st, err := name.Stat()
	if err != nil {
		return nil, "", err
	}
	if !st.IsDir() { // to open it could start a device
		return nil, "", &os.PathError{Op: "list", Path: real, Err: unix.ENOTDIR}
	}
	dir, err := os.Open(r.self(name))
	if err != nil {
		return nil, "", err
	}
	defer dir.Close()
	list, err = dir.ReadDir(most)
	if len(list) > 0 {
		err = nil // what was read before it will do
	}
	return list, real, err
}

func (r root) stat(path string) (os.FileInfo, error) {
	f, _, err := r.resolve(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// newest gives the file of a folder that was written last, of those whose names
// begin with prefix.
func (r root) newest(folder, prefix string) (string, bool) {
	entries, real, err := r.entries(folder)
	if err != nil {
		return "", false
	}
	var last os.FileInfo
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !e.Type().IsRegular() {
			continue
		}
		if st, err := r.stat(filepath.Join(folder, e.Name())); err == nil && (last == nil || st.ModTime().After(last.ModTime())) {
			last = st
		}
	}
	if last == nil {
		return "", false
	}
	return filepath.Join(r.outside+real, last.Name()), true
}
