package main

import (
	"strings"
	"testing"

	"halfopen/verdict"
)

// Stalls that are no half-open connection, made on a real kernel by real traffic,
// are told from one.
func TestLabClasses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		class verdict.Class
		says  string // in the finding that names the class
		finds string // another finding's rule
		args  []string
	}{
		{"the receiver's output blocks", verdict.ReceiverBlocked, "6 or a multiple at a time, each an ACK 0", "receiver's side", []string{
			// The reader takes some lines and then no more: once the pipe is full,
			// nothing is acknowledged, and ACK 0 is sent every 5 s.
			"--rate", "500", "--receiver-cmd", "halfopen lab-receiver | { head -n 2000; sleep 300; }",
		}},
		{"the receiver hangs", verdict.SilentPeer, "no data came back", "receiver hangs", []string{
			// It is stopped once it has delivered; its pipe stays open.
			"--receiver-cmd", "cd $HALFOPEN_DIR; mkfifo out; halfopen lab-receiver >out & exec 3<out; head -n 30 <&3; kill -STOP $!; sleep 300",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := startLab(t, append([]string{"--method", "none", "--warm-up", "3s", "--watch-for", "48s"}, tt.args...)...)
			if code := r.wait(); code != exitStalled {
				t.Errorf("exit code %d, want %d", code, exitStalled)
			}
			v := r.verdict()
			if v.Verdict != verdict.Stalled || v.Class != tt.class || v.Lag == nil || v.Lag.Oldest == nil {
				t.Errorf("%q, class %q, lag %+v: %s", v.Verdict, v.Class, v.Lag, v.Summary)
			}
			said, found := false, false
			for _, f := range v.Findings {
				said = said || f.Rule == "class" && strings.Contains(f.Text, tt.says)
				found = found || f.Rule == tt.finds
			}
			if !said || !found {
				t.Errorf("no finding names the class by %q, or none is %q: %+v", tt.says, tt.finds, v.Findings)
			}
			r.checkNothingLeft(true)
		})
	}
}
