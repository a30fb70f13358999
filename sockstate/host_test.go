package sockstate

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/netns"
)

func counters(t *testing.T, ns *netns.NS) Counters {
	t.Helper()
	c, err := ReadCounters(ns.ProcRoot())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReadCounters(t *testing.T) {
	ns := private(t)
	before := counters(t, ns)
	// A fresh namespace has counted nothing, and all of these are in any kernel
	// since 4.7.
	for name, n := range map[string]*uint64{
		"RetransSegs": before.RetransSegs, "OutRsts": before.OutRsts, "EstabResets": before.EstabResets, "TCPTimeouts": before.TCPTimeouts,
		"TCPLostRetransmit": before.TCPLostRetransmit, "TCPRetransFail": before.TCPRetransFail, "TCPAbortOnTimeout": before.TCPAbortOnTimeout,
		"TCPKeepAlive": before.TCPKeepAlive, "ListenOverflows": before.ListenOverflows, "ListenDrops": before.ListenDrops,
		"TCPReqQFullDoCookies": before.TCPReqQFullDoCookies, "SyncookiesSent": before.SyncookiesSent, "SyncookiesFailed": before.SyncookiesFailed,
		"TCPToZeroWindowAdv": before.TCPToZeroWindowAdv,
	} {
		if n == nil || *n != 0 {
			t.Errorf("%s is %v in a new namespace", name, n)
		}
	}
	l := listen(t, ns, netip.AddrPortFrom(loopback, testPort))
	c := connect(t, ns, netip.AddrPortFrom(loopback, testPort))
	c.write(t, "unread")
	l.accept(t).close(t)
	await(t, func() error { // it is received in a softirq
		if after := counters(t, ns); *after.OutRsts != 1 || *after.EstabResets == 0 {
			return fmt.Errorf("after one reset: %d RST sent, %d connections reset", *after.OutRsts, *after.EstabResets)
		}
		return nil
	})
	if _, err := ReadCounters("/proc/self"); err != nil {
		t.Error(err)
	}
	if _, err := ReadCounters(os.TempDir()); err == nil || !strings.Contains(err.Error(), "not the folder of a process") {
		t.Errorf("a folder of no process: %v", err)
	}
}

func setSysctl(t testing.TB, ns *netns.NS, name, value string) {
	t.Helper()
	inside(t, ns, func() error { return os.WriteFile(filepath.Join(sysctlRoot, name), []byte(value), 0o644) })
}

func TestReadSysctls(t *testing.T) {
	ns := private(t)
	own, err := ReadSysctls(nil)
	if err != nil {
		t.Fatal(err)
	}
	setSysctl(t, ns, "ipv4/tcp_retries2", "3")
	setSysctl(t, ns, "ipv4/tcp_keepalive_time", "77")
	setSysctl(t, ns, "ipv4/tcp_rmem", "4096 50000 60000")
	s, err := ReadSysctls(ns)
	if err != nil {
		t.Fatal(err)
	}
	if *s.Retries2 != 3 || *s.KeepaliveTime != 77*time.Second || *s.RMem != (BufferSize{4096, 50000, 60000}) || s.CongestionControl == "" {
		t.Errorf("read %+v", s)
	}
	if again, err := ReadSysctls(nil); err != nil || *again.Retries2 != *own.Retries2 || *own.Retries2 == 3 {
		t.Errorf("the program's own namespace: retries2 %d, %v", *again.Retries2, err)
	}
	// HZ is 100 to 1000 (kernel/Kconfig.hz).
	if s.Tick < time.Millisecond || s.Tick > 10*time.Millisecond {
		t.Errorf("tick %s", s.Tick)
	}
}

func TestReadSysctlsOfOtherKernels(t *testing.T) {
	s, err := readSysctls(fstest.MapFS{"ipv4/tcp_retries2": {Data: []byte("15\n")}})
	if err != nil || *s.Retries2 != 15 || s.RTOMax != nil || s.KeepaliveTime != nil || s.WMem != nil || s.CongestionControl != "" {
		t.Errorf("an old kernel: %+v, %v", s, err)
	}
	_, err = readSysctls(fstest.MapFS{"ipv4/tcp_retries2": {Data: []byte("many\n")}})
	if err == nil || !strings.Contains(err.Error(), `ipv4/tcp_retries2: want numbers, got "many"`) {
		t.Errorf("no number: %v", err)
	}
}

func TestOwners(t *testing.T) {
	ns := private(t)
	mine := listen(t, ns, netip.AddrPortFrom(loopback, testPort))
	shared := listen(t, ns, netip.AddrPortFrom(loopback, testPort+1))
	child := exec.Command("sleep", "60")
	child.ExtraFiles = []*os.File{os.NewFile(uintptr(dup(t, shared)), "shared")}
	if err := ns.Start(child); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { child.Process.Kill(); child.Wait() })
	child.ExtraFiles[0].Close()

	inodes := []uint32{0, inode(t, mine), inode(t, shared), 1<<32 - 1}
	own, err := Owners("/proc", inodes)
	if err != nil {
		t.Fatal(err)
	}
	if len(own.ByInode) != 2 || own.Unreadable != 0 {
		t.Fatalf("found %+v", own)
	}
	for _, n := range inodes[1:3] {
		o := own.ByInode[n]
		// Of the two that hold the shared one, this process is the older.
		if o.PID != os.Getpid() || !slices.Equal(o.Cmdline, os.Args) || o.Name != name15(os.Args[0]) || time.Since(o.Start) > time.Hour || time.Since(o.Start) < 0 {
			t.Errorf("socket %d: owner %+v", n, o)
		}
	}
	shared.close(t)
	await(t, func() error {
		own, err = Owners("/proc", inodes)
		return err
	})
	if o := own.ByInode[inodes[2]]; o.PID != child.Process.Pid || o.Name != "sleep" || !slices.Equal(o.Cmdline, []string{"sleep", "60"}) {
		t.Errorf("socket that only the child holds: owner %+v", o)
	}

	withoutRights(t, func() { own, err = Owners("/proc", inodes) })
	if err != nil || own.Unreadable == 0 {
		t.Errorf("without rights: %+v, %v", own, err)
	}
	if _, err := Owners(t.TempDir(), inodes); err == nil {
		t.Error("a folder without processes has owners")
	}
}

// name15 is what the kernel keeps of a program's name (TASK_COMM_LEN).
func name15(path string) string {
	name := filepath.Base(path)
	return name[:min(15, len(name))]
}

func dup(t *testing.T, e end) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(e), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func inode(t *testing.T, e end) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(e), &st); err != nil {
		t.Fatal(err)
	}
	return uint32(st.Ino)
}
