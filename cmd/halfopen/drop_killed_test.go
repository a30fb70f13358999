package main

import (
	"strings"
	"testing"
	"time"

	"halfopen/report"
	"halfopen/timeline"
	"halfopen/verdict"
)

// A drop that was killed told nobody of its end: it is that of its rules, which went
// with it. Beside its marks its rules are not told as somebody's.
func TestDropKilledIsJudged(t *testing.T) {
	t.Parallel()
	h := startByHand(t)
	h.record()
	d := startDrop(t, h.bed.Router, "--method", "c", "--for", "1h", "--evidence", h.evidence)
	until(60*time.Second, func() bool {
		q, again := h.sendQueue()
		return q > 0 && again >= 3
	})
	before := time.Now()
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = d.cmd.Wait() // killed
	after := time.Now()
	h.await("acks to move again", func(rec *timeline.Recording) bool {
		return verdict.Judge(rec, verdict.Defaults()).Verdict == verdict.Recovered
	})
	v, _ := h.finish()
	w := v.Window
	if w == nil || w.Known != "marks" || w.End == nil {
		t.Fatalf("window %+v: %s", w, v.Summary)
	}
	if w.End.After(after) || w.End.Add(w.EndWithin).Before(before) {
		t.Errorf("the end is %s within %s, killed between %s and %s", w.End, w.EndWithin, before, after)
	}
	if text := string(report.Text(v)); strings.Contains(text, "inet halfopen-") {
		t.Errorf("the verdict tells of drop's own rules:\n%s", text)
	}
}
