package logtail_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"halfopen/logtail"
)

// say writes to the kernel's log, as any program may that is root. Each opening
// may write ten messages in five seconds (kernel.printk_devkmsg).
func say(t *testing.T, text string) {
	t.Helper()
	must(t, os.WriteFile("/dev/kmsg", []byte("<7>"+text+"\n"), 0)) // without the newline readers wait for more of it
}

func kernelLine(f *following, want string) logtail.Line {
	f.t.Helper()
	c := f.next("the kernel's line "+want, func(c got) bool { return strings.Contains(c.text, want) })
	c.line.Bytes = []byte(c.text)
	return c.line
}

func TestKernel(t *testing.T) {
	mark := fmt.Sprintf("halfopen test %d", time.Now().UnixNano())
	complete := func(f *following) { // but for what others log meanwhile
		t.Helper()
		if rest := strings.Join(f.stop(), "\n"); strings.Contains(rest, mark) || len(f.gaps) > 0 {
			t.Errorf("more lines than wanted: %q; gaps %v", rest, f.gaps)
		}
	}
	say(t, mark+" before")
	pos, err := logtail.OpenPositions(t.TempDir() + "/positions")
	must(t, err)
	f := followWith(t, logtail.FollowKernel, logtail.Config{Positions: pos, From: logtail.LastDuration(time.Minute)})
	kernelLine(f, mark+" before")
	said := time.Now()
	say(t, mark+" possible SYN flooding on port 24224. Sending cookies.")
	l := kernelLine(f, mark+" possible")
	m, ok := (&logtail.Decoder{}).Decode(l, time.Now())
	if !ok || m.Format != logtail.Kernel || m.Level != "debug" || !strings.HasPrefix(m.Message, mark) || l.File != "/dev/kmsg" {
		t.Fatalf("%+v of %q", m, l.Bytes)
	}
	if m.Time.Before(said.Add(-time.Second)) || m.Time.After(time.Now()) {
		t.Errorf("said after %v, at %v by the log", said, m.Time)
	}
	if p, _ := logtail.Match(m.Message); p.Name != "kernel-syn-flood" {
		t.Errorf("matched %q", p.Name)
	}
	complete(f)

	// What came while nobody read is read by the next run, once.
	say(t, mark+" meanwhile")
	f = followWith(t, logtail.FollowKernel, logtail.Config{Positions: pos})
	if l := kernelLine(f, mark); !strings.HasSuffix(string(l.Bytes), "meanwhile") {
		t.Errorf("continued with %q", l.Bytes)
	}
	complete(f)

	// A run that sees no record leaves a place, too.
	quiet, err := logtail.OpenPositions(t.TempDir() + "/positions")
	must(t, err)
	followWith(t, logtail.FollowKernel, logtail.Config{Positions: quiet}).stop()
	say(t, mark+" after a quiet run")
	f = followWith(t, logtail.FollowKernel, logtail.Config{Positions: quiet})
	kernelLine(f, mark+" after a quiet run")
	complete(f)

	f = followWith(t, logtail.FollowKernel, logtail.Config{From: logtail.LastLines(1)})
	f.line()
	say(t, mark+" last")
	kernelLine(f, mark+" last")
	complete(f)
}

func TestKernelOfAnotherBoot(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var gaps []logtail.Gap
	lines := 0
	err := logtail.FollowKernel(ctx, logtail.Config{From: logtail.Position{Cursor: "another-boot:17"}}, logtail.Handler{
		Line: func(logtail.Line) error { lines++; return nil },
		Gap:  func(g logtail.Gap) { gaps = append(gaps, g) },
	})
	must(t, err)
	if len(gaps) != 1 || !strings.Contains(gaps[0].Why, "started again") || lines == 0 {
		t.Errorf("%d lines, gaps %+v", lines, gaps)
	}
}

func TestKernelRefuses(t *testing.T) {
	h := logtail.Handler{Line: func(logtail.Line) error { return nil }}
	err := logtail.FollowKernel(t.Context(), logtail.Config{Path: t.TempDir() + "/none"}, h)
	if err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("%v", err)
	}
	// A file that ends is no log of the kernel.
	err = logtail.FollowKernel(t.Context(), logtail.Config{Path: "/dev/null", From: logtail.FromBeginning}, h)
	if err == nil || !strings.Contains(err.Error(), "/dev/null") {
		t.Errorf("%v", err)
	}
}
