package logtail_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"halfopen/logtail"
)

// gate is a Follow from the beginning whose handler stops at each line until
// the test has asked for it, and at the first until release is closed: what
// happens meanwhile is seen at once afterwards. A partial line ends in "|".
type gate struct {
	t       *testing.T
	hold    chan bool
	gapped  chan bool
	release chan bool
	cancel  context.CancelFunc
	done    chan error
	lines   []string
	gaps    []logtail.Gap
	notes   chan string
}

func gated(t *testing.T, path string) *gate {
	ctx, cancel := context.WithCancel(context.Background())
	g := &gate{t: t, hold: make(chan bool), gapped: make(chan bool, 99), release: make(chan bool), notes: make(chan string, 99), cancel: cancel, done: make(chan error, 1)}
	go func() {
		g.done <- logtail.Follow(ctx, logtail.Config{Path: path, From: logtail.FromBeginning, Poll: never}, logtail.Handler{
			Line: func(l logtail.Line) error {
				text := string(l.Bytes)
				if l.Partial {
					text += "|"
				}
				g.lines = append(g.lines, text)
				select {
				case g.hold <- true:
				case <-ctx.Done():
				}
				select {
				case <-g.release:
				case <-ctx.Done():
				}
				return nil
			},
			Gap:  func(gap logtail.Gap) { g.gaps = append(g.gaps, gap); g.gapped <- true },
			Note: func(s string) { g.notes <- s },
		})
	}()
	t.Cleanup(cancel)
	return g
}

// held waits for the next line to be in its handler.
func (g *gate) held() { g.t.Helper(); g.await("a line", g.hold) }

// gap waits for a gap.
func (g *gate) gap() { g.t.Helper(); g.await("a gap", g.gapped) }

func (g *gate) await(what string, c <-chan bool) {
	g.t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		g.stop()
		g.t.Fatalf("waited %v for %s; lines %q, gaps %+v", patience, what, g.lines, g.gaps)
	}
}

// note waits for a note that contains part.
func (g *gate) note(part string) {
	g.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case s := <-g.notes:
			if strings.Contains(s, part) {
				return
			}
		case <-timeout:
			g.stop()
			g.t.Fatalf("waited %v for note %q", patience, part)
		}
	}
}

// stop ends the following and gives its gaps; lines is complete then.
func (g *gate) stop() []logtail.Gap {
	g.cancel()
	if err := <-g.done; err != nil {
		g.t.Errorf("Follow: %v", err)
	}
	return g.gaps
}
