package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"halfopen/fault"
	"halfopen/lab"
	"halfopen/middlebox"
	"halfopen/timeline"
	"halfopen/verdict"
)

// Whatever the lab does to the path or to a party, the judge tells from the
// recording what it was.
func TestLabMethods(t *testing.T) {
	for _, tt := range []struct {
		args    string
		code    int
		verdict string
		class   verdict.Class
		by      string // of a recovery
		steps   string // of the drop window; empty: there is none
	}{
		{"--method a", exitStalled, verdict.Reproduced, verdict.LocalDrop, "", "drop hold undo"},
		{"--method b", exitStalled, verdict.Reproduced, verdict.HalfOpen, "", "drop hold undo"},
		{"--method b --direction out", exitStalled, verdict.Reproduced, verdict.HalfOpen, "", "drop hold undo"},
		{"--method b --loss 20% --drop-for 25s --watch-for 10s", exitInconclusive, verdict.Inconclusive, "", "", "drop hold undo"},
		{"--method d", exitStalled, verdict.Reproduced, verdict.SilentPeer, "", "drop hold undo"},
		{"--method e --idle 3s", exitStalled, verdict.Reproduced, verdict.HalfOpen, "", "expire forget undo"},
		{"--method f-fin --port 12345", exitStalled, verdict.Reproduced, verdict.HalfOpen, "", "fin hold undo"},
		{"--method f-rst", exitOK, verdict.Recovered, "", verdict.ByReset, "reset pass undo"},
		{"--method f-zero-window", exitStalled, verdict.Stalled, verdict.ZeroWindow, "", ""},
		{"--method f-ack0", exitStalled, verdict.Stalled, verdict.ReceiverBlocked, "", ""},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			r := startLab(t, append([]string{"--warm-up", "4s", "--drop-for", "5s", "--watch-for", "40s"}, strings.Fields(tt.args)...)...)
			if code := r.wait(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			v := r.verdict()
			if v.Verdict != tt.verdict || v.Class != tt.class {
				t.Errorf("verdict %q, class %q, want %q, %q: %s", v.Verdict, v.Class, tt.verdict, tt.class, v.Summary)
			}
			if (v.Recovery != nil) != (tt.by != "") || v.Recovery != nil && v.Recovery.By != tt.by {
				t.Errorf("recovery %+v, want by %q", v.Recovery, tt.by)
			}
			r.checkWindow(tt.steps)
			r.checkEvidence()
			r.checkNothingLeft(true)
			if t.Failed() {
				text, _ := r.halfopen("verdict")
				t.Log(text)
			}
		})
	}
}

// checkWindow: the window has these steps, and has met packets of the first to
// within the time between two readings.
func (r *labRun) checkWindow(steps string) {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.evidence, "*-drop-window.txt"))
	if err != nil || len(files) > 1 {
		r.t.Fatalf("drop windows %v, %v", files, err)
	}
	if (len(files) == 1) != (steps != "") {
		r.t.Fatalf("drop windows %v, want steps %q", files, steps)
	}
	if steps == "" {
		return
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		r.t.Fatal(err)
	}
	w, err := fault.ParseWindow(bytes.NewReader(text))
	if err != nil {
		r.t.Fatalf("%v\n%s", err, text)
	}
	first, last, ok := w.Met(w.Steps[0].Name)
	if got := stepNames(w); got != steps || !ok || last.By.Before(first.By) || !w.Steps[0].Start.Before(first.By) {
		r.t.Errorf("steps %q, want %q; first packet %+v, last %+v", got, steps, first, last)
	}
	for _, s := range w.Steps {
		if s.Name == fault.StepForget && !slices.ContainsFunc(s.Deleted, func(e middlebox.Entry) bool { return e.Orig.Local.Addr() == lab.ShipperAddr }) {
			r.t.Errorf("deleted %v, want the shipper's connection", s.Deleted)
		}
	}
}

// The rules of a method stand where it says, and each method is in the help.
func TestLabMethodsAreTold(t *testing.T) {
	help := labMethodHelp()
	for _, m := range labMethods {
		if !strings.Contains(help, "  "+m.name+" ") || m.what == "" {
			t.Errorf("method %q is not in the help", m.name)
		}
		if p := m.place(); p != timeline.Router && p != timeline.Shipper {
			t.Errorf("method %q at %q", m.name, p)
		}
	}
}
