package collect

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ours refuses another end that is neither this user, nor root, nor the user who
// called sudo.
func ours(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if cerr != nil {
		return fmt.Errorf("ask who is at the other end: %w", cerr)
	}
	uid := int(cred.Uid)
	if user, _, ok := caller(); uid == 0 || uid == os.Geteuid() || ok && uid == user {
		return nil
	}
	return fmt.Errorf("%w: user %d is at the other end", fs.ErrPermission, uid)
}

// maxSocketPath is what sun_path holds with its NUL (unix(7)).
const maxSocketPath = 107

// shortPath returns a path of the same file that fits an address, until done.
func shortPath(path string) (short string, done func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)), func() { dir.Close() }, nil
}

func isMarkSocket(e fs.DirEntry) bool {
	return e.Type()&fs.ModeSocket != 0 && strings.HasSuffix(e.Name(), markSocket)
}
