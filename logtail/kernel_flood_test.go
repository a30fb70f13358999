//go:build flood

package logtail_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"halfopen/logtail"
)

// The ring is overrun while the handler stands still. The host's log is
// overwritten by it, so it is built only where it is asked for.
func TestKernelOverrun(t *testing.T) {
	mark := fmt.Sprintf("halfopen flood %d", time.Now().UnixNano())
	release, held := make(chan bool), make(chan bool)
	ctx, cancel := context.WithCancel(t.Context())
	var lines, lost, gaps int64
	done := make(chan error)
	go func() {
		done <- logtail.FollowKernel(ctx, logtail.Config{}, logtail.Handler{
			Line: func(l logtail.Line) error {
				if !strings.Contains(string(l.Bytes), mark) {
					return nil
				}
				if lines++; lines == 1 {
					close(held)
					<-release
				}
				if strings.HasSuffix(string(l.Bytes), "end") {
					cancel()
				}
				return nil
			},
			Gap: func(g logtail.Gap) { gaps++; lost += g.Lines },
		})
	}()
	stop := time.After(patience)
	for held := held; held != nil; {
		say(t, mark+" begin")
		select {
		case <-held:
			held = nil
		case <-time.After(10 * time.Millisecond):
		case <-stop:
			t.Fatal("no line came")
		}
	}
	const n = 20_000
	for range n {
		say(t, mark+strings.Repeat("x", 400))
	}
	say(t, mark+" end")
	close(release)
	must(t, <-done)
	t.Logf("%d lines, %d lost in %d gaps", lines, lost, gaps)
	if lost == 0 || lines+lost < n {
		t.Errorf("%d lines and %d lost of %d", lines, lost, n)
	}
}
