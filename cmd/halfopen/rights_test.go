package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const nobody = 65534

// An ordinary user runs the lab, where the kernel lets him make user namespaces.
func TestLabAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	cmd := exec.Command(binary, "lab", "--method", "none", "--warm-up", "2s", "--watch-for", "4s", "--evidence", filepath.Join(dir, "evidence"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("NOT STALLED")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// An ordinary user reads his own namespace, with all that the kernel tells.
func TestSnapshotAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	for _, where := range [][]string{nil, {"--pid", strconv.Itoa(os.Getpid())}} {
		cmd := exec.Command(binary, append([]string{"snapshot", "--json", "--over", "0s", "--timeout", "1m"}, where...)...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		if len(where) == 0 && (err != nil || !bytes.Contains(out, []byte(`"via": "diag"`))) {
			t.Errorf("%v: %v\n%s", where, err, out)
		}
		// Another user's process: its namespace can't be entered, but its tables
		// can be read from outside, and it says so.
		if len(where) > 0 && (err != nil || !bytes.Contains(out, []byte(`"via": "procfs"`)) || !bytes.Contains(out, []byte("CAP_SYS_ADMIN"))) {
			t.Errorf("%v: %v\n%s", where, err, out)
		}
	}
}

// openDir is a folder that everybody may write to and reach.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "halfopen-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// dropRights in the environment makes the test binary give up its rights and
// become the program that it names.
const dropRights = "HALFOPEN_TEST_WITHOUT_RIGHTS"

// withoutRights runs inside a user namespace of its own, where it may forbid
// further ones, and becomes an ordinary user of it.
func withoutRights() error {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		return err
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
		return err
	}
	return syscall.Exec(os.Getenv(dropRights), os.Args, os.Environ())
}

// Without any rights the lab says what is missing.
func TestLabWithoutRights(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = []string{"halfopen", "lab", "--evidence", filepath.Join(dir, "evidence")}
	cmd.Env = append(os.Environ(), dropRights+"="+binary, "TMPDIR="+dir)
	everyone := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: nobody + 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: everyone, GidMappings: everyone, GidMappingsEnableSetgroups: true}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitError {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"CAP_SYS_ADMIN", "run as root", "user.max_user_namespaces"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the message does not name %s:\n%s", want, out)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}
