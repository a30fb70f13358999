package collect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
	"halfopen/timeline"
)

// noDiagEnv makes the test binary a recorder that may not use inet_diag: "VIA FOLDER".
const noDiagEnv = "COLLECT_NO_DIAG"

func init() {
	spec := os.Getenv(noDiagEnv)
	if spec == "" {
		return
	}
	via, dir, _ := strings.Cut(spec, " ")
	if err := errors.Join(denyDiag(), recordOwn(via, dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// denyDiag has socket(AF_NETLINK, …, NETLINK_SOCK_DIAG) fail in all threads from
// now on, as where the kernel has no inet_diag, or a container's seccomp profile
// forbids it.
func denyDiag() error {
	const args = 16 // offset in struct seccomp_data (include/uapi/linux/seccomp.h); low words first
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: k}
	}
	ret := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	filter := []unix.SockFilter{
		load(0), unless(unix.SYS_SOCKET, 5),
		load(args), unless(unix.AF_NETLINK, 3),
		load(args + 2*8), unless(unix.NETLINK_SOCK_DIAG, 1),
		ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EPROTONOSUPPORT)),
		ret(unix.SECCOMP_RET_ALLOW),
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

// recordOwn records a listener of its own until it has been read once.
func recordOwn(via, dir string) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	ns, err := netns.Open("")
	if err != nil {
		return err
	}
	defer ns.Close()
	ports := flow.NewPorts(uint16(l.Addr().(*net.TCPAddr).Port))
	seen := make(chan struct{}, 1)
	rec, err := Open(dir, timeline.Header{Tool: "test", Experiment: "fallback", Ports: ports}, func(r timeline.Record) {
		if r.Sockets != nil {
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	})
	if err != nil {
		return err
	}
	err = rec.Run(context.Background(), func(ctx context.Context) error {
		select {
		case <-seen:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}, &Sockets{At: "here", NS: ns, Ports: ports, Every: foldFor / 100, Via: via})
	return errors.Join(err, rec.Close(timeline.End{Reason: timeline.EndDone}))
}

// Without inet_diag the sockets are read from /proc, and the recording says so;
// whoever asked for inet_diag is refused.
func TestSocketsWithoutDiag(t *testing.T) {
	run := func(via string) (*timeline.Recording, string, error) {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), noDiagEnv+"="+via+" "+dir)
		out, err := cmd.CombinedOutput()
		files, gerr := filepath.Glob(filepath.Join(dir, "*"+timeline.Suffix))
		if gerr != nil || len(files) != 1 {
			t.Fatalf("%d recordings, %v; the recorder said %q", len(files), gerr, out)
		}
		r, lerr := timeline.Load(files[0])
		if lerr != nil {
			t.Fatal(lerr)
		}
		return r, string(out), err
	}
	r, out, err := run(Auto)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	read, told := 0, 0
	for _, rec := range r.Records {
		if s := rec.Sockets; s != nil && s.Via == Procfs && len(s.Sockets) == 1 {
			read++
		}
		if f := rec.Failure; f != nil && strings.Contains(f.Error, "inet_diag can't be used, reading /proc/net/tcp instead") && strings.Contains(f.Error, "protocol not supported") {
			told++
		}
	}
	if read == 0 || told != 1 {
		t.Errorf("%d readings from /proc, told %d times, in %d records", read, told, len(r.Records))
	}
	if _, out, err := run(Diag); err == nil || !strings.Contains(out, "read the sockets of here: open inet_diag") {
		t.Errorf("inet_diag asked for: %v, %q", err, out)
	}
}
