package collect

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrNoRecorder is returned where no running recorder is found.
var ErrNoRecorder = errors.New("no running recorder")

// FindRecorders lists the sockets of running recorders that take marks: those of
// evidence, a folder or the prefix of a recording; of the whole host where it is
// empty. An error means that there are some that this user may not reach.
func FindRecorders(evidence string) (sockets []string, err error) {
	candidates, err := listening()
	if evidence != "" {
		candidates, err = beside(evidence)
	}
	if err != nil {
		return nil, err
	}
	var denied error
	for _, path := range candidates {
		switch _, err := Send(path, Remark{}); {
		case err == nil:
			sockets = append(sockets, path)
		case errors.Is(err, fs.ErrPermission):
			denied = err
		}
	}
	if len(sockets) > 0 {
		denied = nil
	}
	return sockets, denied
}

// Send sends a remark to the recorder that listens on a socket. One that nobody
// listens on any more, since its recorder was killed, is removed.
func Send(path string, r Remark) (Receipt, error) {
	short, done, err := shortPath(path)
	if err != nil {
		return Receipt{}, fmt.Errorf("send mark: %w", err)
	}
	defer done()
	dialed, err := net.DialTimeout("unixpacket", short, markWithin)
	if errors.Is(err, syscall.ECONNREFUSED) {
		if strings.HasSuffix(path, markSocket) {
			os.Remove(path)
		}
		return Receipt{}, fmt.Errorf("send mark: %w: that of %q was killed", ErrNoRecorder, path)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("send mark: %w", err)
	}
	defer dialed.Close()
	conn := dialed.(*net.UnixConn)
	_ = conn.SetDeadline(time.Now().Add(markWithin))
	packet, err := json.Marshal(r)
	if err == nil {
		err = ours(conn)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("send mark: %w", err)
	}
	if _, err := conn.Write(packet); err != nil {
		return Receipt{}, fmt.Errorf("send mark: %w", err)
	}
	buf := make([]byte, maxPacket)
	n, err := conn.Read(buf)
	if err != nil {
		return Receipt{}, fmt.Errorf("await the recorder's answer: %w", err)
	}
	var got Receipt
	if err := json.Unmarshal(buf[:n], &got); err != nil {
		return Receipt{}, fmt.Errorf("read the recorder's answer: %w", err)
	}
	if got.Error != "" {
		return got, fmt.Errorf("the recorder refused the mark: %s", got.Error)
	}
	return got, nil
}

// beside lists the sockets in a folder, or of one recording.
func beside(evidence string) (paths []string, err error) {
	dir, prefix := evidence, ""
	if st, err := os.Stat(evidence); err != nil || !st.IsDir() {
		dir, prefix = filepath.Split(evidence)
	}
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil, fmt.Errorf("look for a running recorder: %w", err)
	}
	for _, e := range entries {
		if isMarkSocket(e) && (prefix == "" || e.Name() == prefix+markSocket) {
			path, err := filepath.Abs(filepath.Join(dir, e.Name()))
			if err != nil {
				return nil, err
			}
			paths = append(paths, path)
		}
	}
	return paths, nil
}

// listening asks the kernel for the sockets that recorders of this network
// namespace listen on: it forgets them with their process, so none is stale.
func listening() ([]string, error) {
	f, err := os.Open("/proc/self/net/unix")
	if err != nil {
		return nil, fmt.Errorf("look for running recorders: %w; name one with --evidence", err)
	}
	defer f.Close()
	return parseUnix(f)
}

// parseUnix finds the listening sockets of recorders in /proc/net/unix, whose
// columns are Num, RefCount, Protocol, Flags, Type, St, Inode and Path
// (unix_seq_show in net/unix/af_unix.c).
func parseUnix(r io.Reader) (paths []string, err error) {
	const acceptCon, path = "00010000", 7 // __SO_ACCEPTCON; the columns before the path
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		column := strings.Fields(lines.Text())
		if len(column) <= path || column[3] != acceptCon || !strings.HasSuffix(lines.Text(), markSocket) {
			continue
		}
		_, at, _ := strings.Cut(lines.Text(), " "+column[path-1]+" ") // a path may have spaces
		if filepath.IsAbs(at) && !strings.HasPrefix(at, "/proc/") && !slices.Contains(paths, at) {
			paths = append(paths, at)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("look for running recorders: %w; name one with --evidence", err)
	}
	return paths, nil
}

// RecordingOf is the prefix of the recording that a socket belongs to.
func RecordingOf(socket string) string { return strings.TrimSuffix(socket, markSocket) }
