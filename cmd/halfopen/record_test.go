package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/procfs"

	"halfopen/timeline"
	"halfopen/verdict"
)

// A recording beside a running shipper and its receiver, each in a namespace of
// its own: both sides' sockets, the processes behind them, counters and logs.
func TestRecord(t *testing.T) {
	t.Parallel()
	r := startLab(t, "--method", "none", "--watch-for", "25s")
	r.await("ESTABLISHED")
	shipper, receiver := r.pid("lab-shipper"), r.pid("lab-receiver")
	dir := filepath.Join(t.TempDir(), "evidence")
	cmd := exec.Command(binary, "record", "--json", "--quiet", "--evidence", dir, "--for", "6s",
		"--pid", strconv.Itoa(shipper), "--pid", strconv.Itoa(receiver), "--stats", "127.0.0.1:5066", "--stats", "127.0.0.1:9600")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var v verdict.Verdict
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	if v.Verdict != verdict.NotStalled {
		t.Errorf("verdict %q: %s", v.Verdict, v.Summary)
	}
	rec := loaded(t, dir)
	places := rec.Header().Places
	if len(places) < 3 || places[2].Role != timeline.Router || places[0].NetNS == places[1].NetNS || places[0].Role != timeline.Shipper || places[1].Role != timeline.Receiver {
		t.Fatalf("places %+v", places)
	}
	for i, pid := range []int{shipper, receiver} {
		at := places[i].Name
		if !slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
			return k.Owner != nil && k.Owner.At == at && k.Owner.Process != nil && k.Owner.Process.PID == pid
		}) {
			t.Errorf("no record says that process %d holds a socket at %s", pid, at)
		}
		for what, is := range map[string]func(timeline.Record) bool{
			"sockets": func(k timeline.Record) bool {
				return k.Sockets != nil && k.Sockets.At == at && len(k.Sockets.Sockets) > 0
			},
			"counters": func(k timeline.Record) bool { return k.Stats != nil && k.Stats.At == at },
			"party":    func(k timeline.Record) bool { return k.Party != nil && k.Party.At == at && k.Party.PID == pid },
		} {
			if !slices.ContainsFunc(rec.Records, is) {
				t.Errorf("no %s of %s", what, at)
			}
		}
	}
	if out, err := exec.Command(binary, "verify", dir).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if code := r.wait(); code != exitOK {
		t.Errorf("the lab beside it: exit code %d", code)
	}
}

// pid finds a party of the lab by its command line.
func (r *labRun) pid(arg string) (pid int) {
	r.t.Helper()
	until(60*time.Second, func() bool {
		procs, err := procfs.AllProcs()
		if err != nil {
			r.t.Fatal(err)
		}
		for _, p := range procs {
			env, _ := p.Environ()
			args, _ := p.CmdLine()
			if slices.Contains(env, "TMPDIR="+r.tmp) && slices.Contains(args, arg) {
				pid = p.PID
			}
		}
		return pid != 0
	})
	if pid == 0 {
		r.t.Fatalf("no process %s", arg)
	}
	return pid
}
