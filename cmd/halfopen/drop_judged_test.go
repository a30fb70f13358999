package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/fault"
	"halfopen/netns"
	"halfopen/report"
	"halfopen/sockstate"
	"halfopen/timeline"
	"halfopen/verdict"
)

// watchedFor is how long a stall is watched, once new connections pass.
const watchedFor = 3 * time.Second

// A drop beside a recorder of both ends, with a shipper and a receiver that speak
// to each other: what the verdict says is what was done.
func TestDropIsJudged(t *testing.T) {
	for _, tt := range []struct {
		args    string
		where   string
		steps   string
		verdict string
		class   verdict.Class
		says    []string // among its findings
	}{
		{"--method f-zero-window --for 6s --hold 1h", timeline.Router, "window hold undo", verdict.Stalled, verdict.ZeroWindow,
			[]string{"closed on the way: the receiver's socket offers"}},
		{"--method f-zero-window --for 8s", timeline.Receiver, "window undo", verdict.Recovered, "", nil},
		{"--method d --for 8s --hold 1h", timeline.Router, "proxy drop hold undo", verdict.Stalled, verdict.SilentPeer, nil},
		{"--method f-ack0 --for 6s --hold 1h", timeline.Shipper, "proxy ack0 hold undo", verdict.Stalled, verdict.ReceiverBlocked, nil},
		{"--method d --for 8s --hold 0s", timeline.Receiver, "proxy drop undo", verdict.Recovered, "", nil},
	} {
		t.Run(tt.where+" "+tt.args, func(t *testing.T) {
			t.Parallel()
			h := startByHand(t)
			h.record("--netns", nsPath(h.bed.Receiver))
			ns := map[string]*netns.NS{timeline.Shipper: h.bed.Shipper, timeline.Router: h.bed.Router, timeline.Receiver: h.bed.Receiver}[tt.where]
			d := startDrop(t, ns, append(strings.Fields(tt.args), "--evidence", h.evidence)...)
			if strings.HasPrefix(tt.steps, "proxy") {
				d.await("restart the shipper")
				h.reconnect()
			}
			told := func(rec *timeline.Recording, what string) int {
				return slices.IndexFunc(rec.Records, func(k timeline.Record) bool { return k.Mark != nil && strings.HasSuffix(k.Mark.Text, ": "+what) })
			}
			th := verdict.Defaults()
			th.Horizon, th.StallAfter = watchedFor, watchedFor
			h.await("the end, and "+tt.verdict+" "+string(tt.class), func(rec *timeline.Recording) bool { // the next probe may be late
				i := told(rec, timeline.DropEnd)
				if i < 0 || rec.Records[len(rec.Records)-1].Mono <= rec.Records[i].Mono+watchedFor+time.Second {
					return false
				}
				v := verdict.Judge(rec, th)
				return v.Verdict == tt.verdict && v.Class == tt.class
			})
			_, rec := h.finish()
			if err := d.cmd.Process.Signal(os.Interrupt); err != nil && !strings.HasSuffix(tt.steps, " undo") {
				t.Fatal(err)
			}
			d.wait(exitOK)
			w := d.told()
			if got := stepNames(w); got != tt.steps {
				t.Errorf("steps %s, want %s", got, tt.steps)
			}
			v := verdict.Judge(rec, th)
			text := string(report.Text(v))
			for _, says := range tt.says {
				if !strings.Contains(text, says) {
					t.Errorf("the verdict lacks %q", says)
				}
			}
			start, _ := w.Start()
			end, _ := w.End()
			if v.Verdict != tt.verdict || v.Class != tt.class || strings.Contains(text, "path was cut") {
				t.Errorf("want %s, %q, and no word of a path that was cut", tt.verdict, tt.class)
			}
			if strings.Contains(text, "inet "+fault.Tables) {
				t.Error("the drop's own rules are told of as if they were a stranger's")
			}
			for what, at := range map[string]time.Time{timeline.DropStart: start, timeline.DropEnd: end} {
				if k := rec.Records[told(rec, what)]; k.Mark.Called == nil || !k.Mark.Called.Equal(at) {
					t.Errorf("the recorder was told of the %s as of %v, the window says %s", what, k.Mark.Called, at)
				}
			}
			if t.Failed() {
				t.Logf("%s", text)
			}
		})
	}
}

// reconnect ends the shipper's connections, as a restart of it would.
func (h *byHand) reconnect() {
	h.t.Helper()
	for _, s := range h.shippers() {
		if err := sockstate.Destroy(h.bed.Shipper, s); err != nil && !errors.Is(err, sockstate.ErrGone) {
			h.t.Fatal(err)
		}
	}
}

// told is the window whose file the drop has named in the end.
func (d *dropRun) told() fault.Window {
	d.t.Helper()
	lines := strings.Split(strings.TrimSpace(d.stdout.String()), "\n")
	f, err := os.Open(lines[len(lines)-1])
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	w, err := fault.ParseWindow(f)
	if err != nil {
		d.t.Fatal(err)
	}
	return w
}
