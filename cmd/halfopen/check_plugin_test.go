package main

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"halfopen/fault"
	"halfopen/verdict"
)

// plugged is halfopen check --plugin beside the shipper of a pair.
func (p *bedPair) plugged(args ...string) (line, rest string, code int) {
	p.t.Helper()
	cmd := exec.Command(binary, append([]string{"check", "--plugin", "--netns", nsPath(p.bed.Shipper), "--port", "5044", "--over", "100ms", "--timeout", "1m"}, args...)...)
	out, _ := cmd.Output()
	line, rest, _ = strings.Cut(string(out), "\n")
	return line, rest, cmd.ProcessState.ExitCode()
}

// 'label'=value[UOM];[warn];[crit];[min];[max], as the guidelines have it.
var plugLine = regexp.MustCompile(`^HALFOPEN (OK|WARNING|CRITICAL|UNKNOWN) - [^|]+ \| ('[^'=]+'=([-0-9.]+|U)(s|B)?(;[-0-9.:~@]*){0,4} ?)+$`)

// A plugin's answer follows a connection from well to dead, by its thresholds.
func TestCheckPlugin(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	p.chatter()
	var line, rest string
	code, well := -1, false
	until(60*time.Second, func() bool {
		line, rest, code = p.plugged()
		well = code == 0 && strings.HasPrefix(line, "HALFOPEN OK - ") && plugLine.MatchString(line) && strings.Contains(line, "'acks_stood'=0s;10;30;0;") && strings.Contains(rest, "HEALTHY")
		return well
	})
	if !well {
		t.Errorf("exit code %d\n%s\n%s", code, line, rest)
	}
	began := time.Now()
	p.cut(p.bed.Router, fault.Transient, false)
	p.becomes(began, verdict.HalfOpen, 3*time.Second, "--outage", "3s", "--silent", "3s", "--fresh", "1s")
	for _, c := range []struct {
		warn, crit, says string
		code             int
	}{{"1", "2", "CRITICAL", 2}, {"1s", "1h", "WARNING", 1}, {"30m", "1h", "OK", 0}} {
		line, rest, code := p.plugged("--silent", "3s", "--fresh", "1s", "-w", c.warn, "-c", c.crit)
		if code != c.code || !strings.HasPrefix(line, "HALFOPEN "+c.says+" - ") || !plugLine.MatchString(line) || !strings.Contains(line, "half-open, no answer for at least ") ||
			!strings.Contains(line, "'stalled'=1;") || !strings.Contains(rest, "the kernel's give-up") || strings.Contains(rest, "|") {
			t.Errorf("-w %s -c %s: exit code %d\n%s\n%s", c.warn, c.crit, code, line, rest)
		}
	}
}

// Limits without the form that they are for would be passed over in silence.
func TestCheckLimitsUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]int{
		"-w 10": exitUsage, "--critical 30": exitUsage, "--json -c 30": exitUsage, "--plugin -w 20 -c 10": 3, "--plugin --json": 3,
	} {
		cmd := exec.Command(binary, append([]string{"check"}, strings.Fields(args)...)...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != want || want == exitUsage && !strings.Contains(string(out), "limits of --plugin") {
			t.Errorf("%q: exit code %d\n%s", args, code, out)
		}
	}
}

// On a host where nothing ships logs it says so, and what was looked for.
func TestCheckNothingFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string
		code int
	}{{"", exitInconclusive}, {"--json", exitInconclusive}, {"--plugin", 3}} {
		// Processes and sockets of its own: /proc then shows no others.
		cmd := exec.Command("sh", "-c", "mount -t proc proc /proc && exec "+binary+" check --timeout 1m "+c.args)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET, Unshareflags: syscall.CLONE_NEWNS}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), "nothing with a connection to port [5044 24224]") || !strings.Contains(string(out), "Filebeat") {
			t.Errorf("%q: exit code %d\n%s", c.args, code, out)
		}
		var check verdict.Checkup
		if c.args == "--json" && (json.Unmarshal(out, &check) != nil || check.Health != verdict.Untold || check.Shippers == nil) {
			t.Errorf("%s", out)
		}
		if c.args == "--plugin" && !strings.HasPrefix(string(out), "HALFOPEN UNKNOWN - no program") {
			t.Errorf("%s", out)
		}
	}
}
