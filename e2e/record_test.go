package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A real Filebeat beside a receiver that stops acknowledging, watched from outside:
// once without an endpoint for its counters, when its log has to do, once with it
// and pprof, when its stacks are kept.
func TestRecord(t *testing.T) {
	for _, c := range []struct {
		name, settings string
		exit           int
		long           func(t *testing.T, e evidence, silent time.Duration) bool // enough was seen
		check          func(t *testing.T, e evidence, log string)
	}{
		{name: "counters from the log", settings: "logging.metrics.period: 2s", exit: stalled, long: func(_ *testing.T, _ evidence, silent time.Duration) bool { return silent > 40*time.Second }, check: func(t *testing.T, e evidence, log string) {
			if e.verdict.Verdict != "stalled" || e.verdict.Class != "silent peer" {
				t.Errorf("verdict %+v, want stalled, silent peer", e.verdict)
			}
			timeline := e.read(t, e.files(t, "*timeline.jsonl")[0])
			for _, part := range []string{`"endpoint":"log:` + log + `"`, "no endpoint tells them, so they are taken from its log " + log} {
				if !bytes.Contains(timeline, []byte(part)) {
					t.Errorf("the recording does not hold %s", part)
				}
			}
			// 5 were acknowledged before: whether they count depends on how far back the log was read.
			if !regexp.MustCompile(`"acked":\{"n":2[05],"key":"libbeat.output.events.acked"\}`).Match(timeline) {
				t.Errorf("the acks are not in it:\n%s", timeline)
			}
			if n := bytes.Count(timeline, []byte("are taken from its log")); n != 1 {
				t.Errorf("said %d times where the counters come from", n)
			}
		}},
		{name: "stacks", settings: "http.enabled: true\nhttp.port: 15066\nhttp.pprof.enabled: true", exit: inconclusive, long: func(t *testing.T, e evidence, _ time.Duration) bool { return len(e.dumps(t)) == 2 }, check: func(t *testing.T, e evidence, _ string) {
			dumps := e.dumps(t)
			for _, path := range dumps {
				if text := e.read(t, path); !bytes.HasPrefix(text, []byte("goroutine ")) || !bytes.Contains(text, []byte("go-lumber")) {
					t.Errorf("%s holds no stacks of Filebeat's: %.200s", path, text)
				}
			}
			if states := e.files(t, "*-onset-*-filebeat-state.json"); len(dumps) != 2 || len(states) != 1 {
				t.Errorf("kept %q, %q", dumps, states)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			batches := receive(t, l)
			s, pid := startWith(t, l.Addr().String(), c.settings)
			s.write(t, 5)
			ack(t, batches, 5)
			if c.exit == stalled { // what it logs from now on is of later
				await(t, "the first acks are in the log", func() bool { return bytes.Contains(s.log(t), []byte(`"acked":5`)) })
			}
			log := filepath.Join(s.dir, "filebeat.log")
			e := evidence{dir: t.TempDir()}
			_, port, _ := net.SplitHostPort(l.Addr().String())
			cmd := exec.Command(binary(t, halfopen), "record", "--json", "--quiet", "--pid", strconv.Itoa(pid), "--port", port, "--log", log, "--evidence", e.dir)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
			await(t, "the log is followed", func() bool {
				found, _ := filepath.Glob(filepath.Join(e.dir, "*timeline.jsonl"))
				if len(found) == 0 {
					return false
				}
				text := e.read(t, found[0])
				return bytes.Contains(text, []byte("followed from")) && bytes.Contains(text, []byte(`"ESTABLISHED"`))
			})
			s.write(t, 20)
			ack(t, batches, 20)
			if c.exit == stalled {
				await(t, "the acks are in the log", func() bool { return bytes.Contains(s.log(t), []byte(`"acked":20`)) })
			}
			s.write(t, 7)
			next(t, batches) // and no word back
			s.write(t, 7)
			began := time.Now()
			await(t, "enough of the silence", func() bool { return c.long(t, e, time.Since(began)) })
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != c.exit {
				t.Errorf("exit code %d, want %d\n%s", code, c.exit, &out)
			}
			decode(t, out.Bytes(), &e.verdict)
			c.check(t, e, log)
		})
	}
}

// dumps are Filebeat's stacks, kept when the stall may have begun and once more.
func (e evidence) dumps(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(e.dir, "*-onset-*-filebeat-goroutines.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// startWith runs Filebeat with more settings until the test ends.
func startWith(t *testing.T, receiver, more string) (*shipper, int) {
	t.Helper()
	s := &shipper{dir: t.TempDir()}
	conf := filepath.Join(s.dir, "filebeat.yml")
	text := strings.NewReplacer("timeout: 10s", "timeout: 5m", "http.enabled: true\n", "", "http.host: unix://%[1]s/stats.sock\n", "").Replace(config)
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(text, s.dir, receiver)+more+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	logfile, err := os.Create(filepath.Join(s.dir, "filebeat.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer logfile.Close()
	cmd := exec.Command(binary(t, filebeat), "-e", "-c", conf)
	cmd.Stderr = logfile
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		killed := time.AfterFunc(30*time.Second, func() { cmd.Process.Kill() })
		defer killed.Stop()
		cmd.Wait()
	})
	return s, cmd.Process.Pid
}
