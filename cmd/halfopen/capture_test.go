package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"halfopen/verdict"
)

// A reset that the lab's router makes is told as a box's, for certain; the packets
// are evidence like any other.
func TestLabCapture(t *testing.T) {
	t.Parallel()
	r := startLab(t, "--method", "f-rst", "--capture", "--warm-up", "3s", "--drop-for", "6s", "--watch-for", "4s")
	r.wait()
	v := r.verdict()
	text := findings(v, "who reset")
	for _, want := range []string{"sent by a box between: router (certain)", "TTL 64, so 0 hops away"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q among the findings:\n%s", want, text)
		}
	}
	if !strings.Contains(findings(v, "packets"), "toward the port") {
		t.Errorf("findings %+v", v.Findings)
	}
	r.checkEvidence()
	began, packets, files := captured(t, r.evidence)
	if began != 3 || len(files) != 1 || !strings.HasSuffix(files[0], "-capture-all.pcapng") {
		t.Fatalf("%d captures, files %v", began, files)
	}
	if n := tsharkPackets(t, files[0], false); n != packets || n < 50 {
		t.Errorf("tshark reads %d packets, the recording tells of %d", n, packets)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil || bytes.Contains(raw, []byte("message")) {
		t.Errorf("payload is in the file, or %v", err)
	}
	manifest, _ := filepath.Glob(filepath.Join(r.evidence, "*-manifest.sha256"))
	if sums, err := os.ReadFile(manifest[0]); err != nil || !bytes.Contains(sums, []byte(filepath.Base(files[0]))) {
		t.Errorf("the manifest does not name %s, %v", files[0], err)
	}
}

// A program on the receiver's own host answers with a reset that its TCP knows
// nothing of: its socket lives on, and that is told.
func TestResetByARuleOfTheReceiversHost(t *testing.T) {
	t.Parallel()
	r := startLab(t, "--method", "none", "--capture", "--warm-up", "2s", "--watch-for", "20s")
	r.await("ESTABLISHED")
	out, err := exec.Command(binary, "drop", "--pid", strconv.Itoa(r.pid("lab-receiver")), "--port", "5044", "--method", "f-rst", "--hook", "local",
		"--for", "6s", "--yes-i-mean-it", "--evidence", filepath.Join(t.TempDir(), "evidence")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r.wait()
	text := findings(r.verdict(), "who reset")
	for _, want := range []string{"sent by the peer's host 10.51.0.2, that is receiver (certain)", "its socket was still ESTABLISHED", "not its TCP"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q among the findings:\n%s", want, text)
		}
	}
}

// findings joins the texts of a rule.
func findings(v verdict.Verdict, rule string) string {
	var list []string
	for _, f := range v.Findings {
		if f.Rule == rule {
			list = append(list, f.Text)
		}
	}
	return strings.Join(list, "\n")
}

// captured sums up what a recording tells of its captures.
func captured(t *testing.T, evidence string) (began, packets int, files []string) {
	t.Helper()
	rec := loaded(t, evidence)
	for _, k := range rec.Records {
		switch {
		case k.Capture != nil && k.Capture.Ended:
			packets += int(k.Capture.Packets)
		case k.Capture != nil:
			began++
		}
	}
	files, err := filepath.Glob(filepath.Join(evidence, "*-capture-*.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	return began, packets, files
}

// tsharkPackets counts the packets of a file; a killed recorder's may end in the middle
// of one, since the kernel ends its last write at a page.
func tsharkPackets(t *testing.T, file string, killed bool) int {
	t.Helper()
	cmd := exec.Command("tshark", "-n", "-r", file, "-T", "fields", "-e", "frame.number")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && !(killed && strings.Contains(stderr.String(), "cut short in the middle of a packet")) {
		t.Fatalf("tshark %s: %v\n%s", file, err, &stderr)
	}
	return bytes.Count(out, []byte("\n"))
}

// startCapture records both ends of a pair's connection.
func startCapture(t *testing.T, p *bedPair, evidence string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"record", "--quiet", "--capture", "--evidence", evidence, "--port", "5044",
		"--netns", nsPath(p.bed.Shipper), "--netns", nsPath(p.bed.Receiver)}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if !testing.Verbose() {
		cmd.Stdout, cmd.Stderr = nil, nil
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	begun := func() bool {
		files, _ := filepath.Glob(filepath.Join(evidence, "*-timeline.jsonl"))
		if len(files) != 1 {
			return false
		}
		text, _ := os.ReadFile(files[0])
		return bytes.Count(text, []byte(`"capture":{`)) == 3 // both, and the host between
	}
	if until(60*time.Second, begun); !begun() {
		t.Fatal("the captures never began")
	}
	return cmd
}

// A reset by the receiver's own host, in a recording whose packets fill more than a
// file: the newest are kept.
func TestRecordCapture(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	evidence := filepath.Join(t.TempDir(), "evidence")
	cmd := startCapture(t, p, evidence, "--capture-size", "64K", "--capture-keep", "2")
	client, server, err := p.dial(30 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := p.talk(client, server, 30*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	server.(*net.TCPConn).SetLinger(0)
	server.Close()
	client.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the connection ended by %v", err)
	}
	cmd.Process.Signal(os.Interrupt)
	_ = cmd.Wait() // the verdict's exit code

	out, _ := exec.Command(binary, "verdict", "--json", evidence).CombinedOutput()
	if !bytes.Contains(out, []byte("sent by the peer's host 10.51.0.2, that is ")) || !bytes.Contains(out, []byte("(certain)")) {
		t.Errorf("the verdict does not name the receiver:\n%s", out)
	}
	began, packets, files := captured(t, evidence)
	if began != 3 || len(files) != 2 || packets < 2000 {
		t.Errorf("%d captures of %d packets, files %v", began, packets, files)
	}
	for _, f := range files {
		tsharkPackets(t, f, false)
	}
	if out, err := exec.Command(binary, "verify", evidence).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
}

// A recorder that is killed while it captures leaves a file that can be read.
func TestRecordCaptureKilled(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	evidence := filepath.Join(t.TempDir(), "evidence")
	cmd := startCapture(t, p, evidence)
	file := func() string {
		files, _ := filepath.Glob(filepath.Join(evidence, "*-capture-all.pcapng"))
		return strings.Join(files, "")
	}
	for limit := time.Now().Add(60 * time.Second); ; {
		if err := p.talk(p.client, p.server, 30*time.Second); err != nil {
			t.Fatal(err)
		}
		if st, err := os.Stat(file()); err == nil && st.Size() > 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("no packet was written")
		}
	}
	cmd.Process.Kill()
	_ = cmd.Wait()
	if n := tsharkPackets(t, file(), true); n == 0 {
		t.Error("no packet in the file")
	}
}

// Without the right to capture it says so, before anything is recorded.
func TestCaptureWithoutRights(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	cmd := exec.Command(binary, "record", "--capture", "--netns", ownNetNS, "--for", "1s", "--evidence", filepath.Join(dir, "evidence"))
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitError {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"CAP_NET_RAW", "setcap cap_net_raw=ep", "without --capture"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the message does not say %q:\n%s", want, out)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}
