package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/timeline"
	"halfopen/verdict"
)

const sample = "../../evidence/sample/halfopen-nat-20261121-142524-timeline.jsonl"

// half writes what one host would have recorded of the sample: the places for which
// its is true. Its clocks are off by the given times.
func half(t *testing.T, dir, host string, its func(place string) bool, mono, wall time.Duration) string {
	t.Helper()
	rec, err := timeline.Load(sample)
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	var n uint64
	for _, r := range rec.Records {
		switch {
		case r.Header != nil:
			h := *r.Header
			h.Host, h.BootID, h.Places = host, host, nil
			for _, p := range r.Header.Places {
				if its(p.Name) {
					h.Places = append(h.Places, p)
				}
			}
			r.Header = &h
		case r.Sockets != nil && !its(r.Sockets.At), r.Destroyed != nil && !its(r.Destroyed.At), r.Stats != nil && !its(r.Stats.At), r.Kernel != nil && !its(r.Kernel.At):
			continue
		case r.Sockets == nil && r.Destroyed == nil && r.Stats == nil && r.Kernel == nil && r.End == nil && !its(timeline.Router):
			continue
		case r.Sockets != nil && r.Sockets.Since != 0:
			s := *r.Sockets
			s.Since += mono
			r.Sockets = &s
		}
		n++
		r.N, r.Mono, r.Time = n, r.Mono+mono, r.Time.Add(wall)
		if text, err = timeline.AppendLine(text, r); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "halfopen-nat-20261121-142524"+timeline.Suffix)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The shipper's host and the receiver's recorded the same stall, each with clocks of
// its own: put together they give the verdict that one recorder gave that saw both.
func TestMergeGivesTheVerdict(t *testing.T) {
	dir := t.TempDir()
	near := half(t, filepath.Join(dir, "near"), "near", func(place string) bool { return place != timeline.Receiver }, 0, 0)
	far := half(t, filepath.Join(dir, "far"), "far", func(place string) bool { return place == timeline.Receiver }, 81*24*time.Hour, 3*time.Millisecond)
	both := filepath.Join(dir, "both.jsonl")
	out, err := exec.Command(binary, "merge", "--output", both, near, far).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "2: halfopen-nat-20261121-142524, host far: -1943h59m59.997s was added to its monotonic clock; whether its wall clock was kept right is not known") {
		t.Errorf("merge: %v\n%s", err, out)
	}
	judge := func(path string) (v verdict.Verdict) {
		out, _ := exec.Command(binary, "verdict", "--json", path).Output()
		if err := json.Unmarshal(out, &v); err != nil {
			t.Fatalf("verdict on %s: %v\n%s", path, err, out)
		}
		return v
	}
	want, got, alone := judge(sample), judge(both), judge(near)
	if got.Verdict != verdict.Reproduced || got.Class != want.Class || *got.Connection != *want.Connection || *got.Receiver != *want.Receiver {
		t.Errorf("verdict %s (%s) on %v, at the receiver %v", got.Verdict, got.Class, got.Connection, got.Receiver)
	}
	if !slices.ContainsFunc(got.Warnings, func(w string) bool {
		return strings.Contains(w, "host far was joined by its wall clock, and nothing is known")
	}) {
		t.Errorf("warnings %q", got.Warnings)
	}
	side := func(v verdict.Verdict) (text string) {
		for _, f := range v.Findings {
			if f.Rule == "receiver's side" {
				text = f.Text
			}
		}
		return text
	}
	if side(got) == "" || side(got) != side(want) || side(alone) == side(want) {
		t.Errorf("the receiver's side: %q; by one recorder: %q; by the shipper's host alone: %q", side(got), side(want), side(alone))
	}
}
