package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"halfopen/netns"
)

// recorder starts one in a namespace, without anything to see, and returns its
// socket once it takes marks.
func recorder(t *testing.T, ns *netns.NS, dir string, env ...string) string {
	t.Helper()
	cmd := exec.Command(binary, "record", "--quiet", "--evidence", dir, "--netns", "/proc/self/ns/net")
	cmd.Env = append(os.Environ(), env...)
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
	})
	var sockets []string
	until(60*time.Second, func() bool {
		sockets, _ = filepath.Glob(filepath.Join(dir, "*-mark.sock"))
		return len(sockets) > 0
	})
	if len(sockets) != 1 {
		t.Fatalf("sockets in %s: %v", dir, sockets)
	}
	return sockets[0]
}

func mark(t *testing.T, ns *netns.NS, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"mark"}, args...)...)
	var b bytes.Buffer
	cmd.Stdout, cmd.Stderr = &b, &b
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return b.String(), cmd.ProcessState.ExitCode()
}

// The only recorder is found without options; of two, mark asks which.
func TestMarkFinds(t *testing.T) {
	t.Parallel()
	ns, err := netns.New() // no other recorder is in there
	if err != nil {
		t.Fatalf("make a namespace (needs root): %v", err)
	}
	defer ns.Close()
	if out, code := mark(t, ns, "nobody there"); code != exitError || !strings.Contains(out, "no running recorder of this user: start one") {
		t.Errorf("exit code %d: %s", code, out)
	}
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	recorder(t, ns, first)
	if out, code := mark(t, ns, "the only one"); code != exitOK || out != "" {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, code := mark(t, ns, "--drop-end"); code != exitOK || !strings.Contains(out, "no drop had been started: the mark is record") {
		t.Errorf("exit code %d: %s", code, out)
	}
	recorder(t, ns, second)
	out, code := mark(t, ns, "which one?")
	if code != exitError || !strings.Contains(out, "2 recorders run: name one") || !strings.Contains(out, "--evidence "+first+"/halfopen-nat-") || !strings.Contains(out, "--evidence "+second+"/halfopen-nat-") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, code := mark(t, ns, "--evidence", second, "this one"); code != exitOK {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// asNobody marks as an ordinary user.
func asNobody(socket string) (out string, err error) {
	cmd := exec.Command(binary, "mark", "not mine")
	cmd.Dir, cmd.Env = "/", append(os.Environ(), envSocket+"="+socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// Another user does not mark a recording, not even where the socket's mode was opened
// to him.
func TestMarkIsTheOwners(t *testing.T) {
	t.Parallel()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace (needs root): %v", err)
	}
	defer ns.Close()
	socket := recorder(t, ns, filepath.Join(openDir(t), "evidence"))
	for _, path := range []string{filepath.Dir(socket), socket} {
		if out, err := asNobody(socket); err == nil || !strings.Contains(out, "permission denied") {
			t.Errorf("before %s is open: %v, %s", path, err, out)
		}
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	// Each end asks the kernel who the other is: root is all right for the caller,
	// the caller is not for the recorder.
	if out, err := asNobody(socket); err == nil || !strings.Contains(out, "user 65534 is at the other end") {
		t.Errorf("%v, %s", err, out)
	}
}

// Who started the recorder by sudo marks its recording without.
func TestMarkUnderSudo(t *testing.T) {
	t.Parallel()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace (needs root): %v", err)
	}
	defer ns.Close()
	dir := openDir(t)
	socket := recorder(t, ns, dir, "SUDO_UID=65534", "SUDO_GID=65534")
	if out, err := asNobody(socket); err != nil || out != "" {
		t.Errorf("%v, %s", err, out)
	}
}
