package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"halfopen/lab"
	"halfopen/verdict"
)

// Two cells of the matrix, for real: labs side by side, each with a recording of
// its own, and what came of their lines.
func TestMatrix(t *testing.T) {
	t.Parallel()
	dir, tmp := t.TempDir(), t.TempDir()
	cmd := exec.Command(binary, "lab", "--matrix", "--method", "f-rst", "--shipper-timeout", "1h", "--warm-up", "3s", "--drop-for", "6s", "--watch-for", "20s",
		"--evidence", dir, "--json", "--quiet")
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var m struct {
		Note  string
		Cells []cell
	}
	if err := json.Unmarshal(out, &m); err != nil || len(m.Cells) != 2 || m.Cells[0].Keepalive == m.Cells[1].Keepalive {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range m.Cells {
		if c.Verdict != verdict.Recovered || c.By != verdict.ByReset || c.After == nil || c.Timeout != time.Hour {
			t.Errorf("%+v", c)
		}
		if d := c.Delivery; d == nil || d.Once < 100 || d.Lost != 0 || d.Written != d.Once+d.Waiting {
			t.Errorf("delivery %+v", d)
		}
		if out, err := exec.Command(binary, "verify", c.Recording).CombinedOutput(); err != nil {
			t.Errorf("verify %s: %v\n%s", c.Recording, err, out)
		}
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("left in TMPDIR: %v", left)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "matrix-*", "*", "*-delivery.json")); len(found) != 2 {
		t.Errorf("deliveries %v", found)
	}
}

func TestMatrixTable(t *testing.T) {
	after := 31 * time.Second
	cells := []*cell{
		{Method: "c", Timeout: 30 * time.Second, Keepalive: true, Verdict: verdict.Recovered, By: verdict.ByTimeout, After: &after, Delivery: &lab.Delivery{Doubled: 4}},
		{Method: "c", Timeout: 24 * time.Hour, Keepalive: false, Verdict: verdict.Reproduced, Class: verdict.HalfOpen, After: &after},
		{Method: "d", Timeout: 30 * time.Second, Keepalive: true, Verdict: verdict.Inconclusive, Summary: "never delivered: so"},
		{Method: "d", Timeout: 24 * time.Hour, Keepalive: false, Verdict: verdict.Inconclusive, Summary: "the cut missed", Delivery: &lab.Delivery{Written: 900, Once: 890, Waiting: 10}},
	}
	got := labOptions{retries2: 8, dropFor: 5 * time.Second, watchFor: time.Minute, idle: time.Second}.matrixTable(cells)
	for _, want := range []string{
		"| method | timeout 30s keepalive on | timeout 24h keepalive off |\n|---|---|---|\n",
		"| c | application timeout, acks again after 31s; 4 twice, 0 lost | **stalled** for 31s, half-open |\n",
		"| d | delivers nothing [1] | delivers on [2] |\n",
		"the kernel gives up after 1m42s;", "\n1. never delivered: so\n2. the cut missed\n", "\n- c: transient",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the table lacks %q:\n%s", want, got)
		}
	}
	if d := giveUp(15); d != 925*time.Second {
		t.Errorf("with tcp_retries2 15 the kernel gives up after %s, want 924.6s, rounded", d)
	}
}

// Two dozen settings would take hours one after the other: all are there, and a
// Filebeat's keepalive is left alone.
func TestMatrixCells(t *testing.T) {
	none := func(string) bool { return false }
	if got := len(labOptions{}.cells("d", none)); got != 9*3*2 {
		t.Errorf("%d cells", got)
	}
	if got := len(labOptions{filebeat: "/filebeat"}.cells("d", none)); got != 9*3 {
		t.Errorf("%d cells with a Filebeat", got)
	}
	seen := map[string]bool{}
	for _, c := range (labOptions{}).cells("d", none) {
		if seen[c.dir] {
			t.Errorf("two cells in %s", c.dir)
		}
		seen[c.dir] = true
	}
}
