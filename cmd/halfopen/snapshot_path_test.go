package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/flow"
	"halfopen/lab"
	"halfopen/middlebox"
	"halfopen/sockstate"
	"halfopen/verdict"
)

// A series of snapshots shows the rule that stood on the way, since when, and what an
// interface dropped between two of them.
func TestSnapshotOfPath(t *testing.T) {
	t.Parallel()
	h := startByHand(t)
	snapshot := func() {
		t.Helper()
		cmd := exec.Command(binary, "snapshot", "--quiet", "--evidence", h.evidence, "--port", "5044", "--netns", nsPath(h.bed.Shipper), "--stats", shipperStats, "--stall-after", "1s", "--timeout", "1m")
		cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
		if err := h.bed.Router.Start(cmd); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 0 && code != exitStalled {
			t.Fatalf("exit code %d", code)
		}
	}
	until(60*time.Second, func() bool {
		found := false
		socks, _, _ := sockstate.ReadProc(h.bed.Shipper.ProcRoot(), flow.NewPorts(5044))
		for _, s := range socks {
			found = found || s.State == sockstate.Established
		}
		return found
	})
	h.run(h.bed.Router, "nft table inet mine { chain forward { type filter hook forward priority 0 ; } ; }")
	snapshot()
	h.run(h.bed.Router, "nft add rule inet mine forward tcp dport 5044 ip daddr 10.51.0.2 counter")
	h.run(h.bed.Router, "nft add rule inet mine forward tcp sport 5044 counter drop")
	h.run(h.bed.Router, "tc qdisc add dev "+lab.RouterLink+" root pfifo limit 0")
	until(60*time.Second, func() bool {
		_, again := h.sendQueue()
		return again >= 2
	})
	snapshot()
	_, before := h.sendQueue()
	until(60*time.Second, func() bool {
		_, again := h.sendQueue()
		return again > before
	})
	snapshot()
	rec := loaded(t, h.evidence)
	th := verdict.Defaults()
	th.StallAfter = time.Second
	v := verdict.Judge(rec, th)
	if v.Series == nil || v.Series.Snapshots != 3 || v.Window != nil {
		t.Errorf("series %+v, window %+v", v.Series, v.Window)
	}
	for rule, words := range map[string][]string{
		"packet filter before": {"1 rule that may drop packets of the watched ports stood in the snapshots", "recorder, inet mine forward", "tcp sport 5044 counter drop", "in 2 snapshots", "meanwhile"},
		"link drops":           {"interface " + lab.RouterLink + " of recorder", "dropped by its queue pfifo"},
	} {
		if !slices.ContainsFunc(v.Findings, func(f verdict.Finding) bool {
			return f.Rule == rule && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(f.Text, w) })
		}) {
			t.Errorf("no finding %q with %q\n%+v", rule, words, v.Findings)
		}
	}
	for _, k := range rec.Records {
		if k.Failure != nil {
			t.Errorf("failure %+v", *k.Failure)
		}
		if k.Rule != nil && (k.Rule.Change.Kind != middlebox.Present || !k.Rule.Change.Rule.Drops) {
			t.Errorf("rule %+v", k.Rule.Change)
		}
	}
}
