package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"halfopen/collect"
	"halfopen/logtail"
	"halfopen/timeline"
)

// pass makes the command's output go to where it went, and as a log of the
// recording to the evidence. Done waits until all of it has, but not for what was
// left running.
func pass(cmd *exec.Cmd, rec *collect.Recorder, logs logPlan, stdout, stderr io.Writer) (done func(), err error) {
	var files, ends []*os.File
	var streams []io.ReadCloser
	var copying sync.WaitGroup
	for _, to := range []struct {
		w   io.Writer
		std *io.Writer
	}{{stdout, &cmd.Stdout}, {stderr, &cmd.Stderr}} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("keep the command's output: %w", err), closeAll(append(files, ends...)))
		}
		files, ends, *to.std = append(files, r), append(ends, w), w
		stream, kept := io.Pipe()
		streams = append(streams, stream)
		copying.Go(func() {
			_, _ = io.Copy(io.MultiWriter(patient{to.w}, patient{kept}), r)
			_ = kept.Close()
		})
	}
	kept := keepOutput(rec, logs, streams)
	return func() {
		_ = closeAll(ends)
		all := make(chan struct{})
		go func() { copying.Wait(); close(all) }()
		drain(files, all)
		_ = closeAll(files)
		kept()
	}, nil
}

// How long the pipes are read once the command has ended, and those who still hold
// them go on: for as long as there is something in them, within bounds.
const (
	drainAtLeast = time.Second
	drainAtMost  = 30 * time.Second
	drainLook    = 10 * time.Millisecond
)

// drain waits until all has been read.
func drain(pipes []*os.File, all <-chan struct{}) {
	began := time.Now()
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for {
		select {
		case <-all:
			return
		case <-look.C:
		}
		if past := time.Since(began); past < drainAtLeast || past < drainAtMost && slices.ContainsFunc(pipes, holds) {
			continue
		}
		for _, p := range pipes {
			_ = p.SetReadDeadline(time.Now())
		}
		<-all
		return
	}
}

// holds reports whether something is in a pipe (FIONREAD, pipe(7)).
func holds(pipe *os.File) (some bool) {
	conn, err := pipe.SyscallConn()
	if err != nil {
		return false
	}
	_ = conn.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		some = err == nil && n > 0
	})
	return some
}

// outputPatience is how long a command that prints faster than its lines are
// matched is held up, as a slow disk would hold it up, before lines are left out.
const outputPatience = 5 * time.Second

// keepOutput records the lines of the streams, in the order in which they come,
// until both end. It returns when it takes them; done waits for the last ones.
func keepOutput(rec *collect.Recorder, logs logPlan, streams []io.ReadCloser) (done func()) {
	l := logs.log(timeline.Script, timeline.Script+":", "output")
	l.Prompt = true
	ready, ended := make(chan struct{}), make(chan struct{})
	l.Follow = func(ctx context.Context, cfg logtail.Config, h logtail.Handler) error {
		close(ready)
		cfg.Patience = outputPatience
		return followStreams(ctx, streams, cfg, h)
	}
	go func() {
		defer close(ended)
		_ = l.Run(context.Background(), rec) // which records what it can't read
	}()
	<-ready
	return func() { <-ended }
}

// followStreams makes one log of several streams: a line's offset counts the
// bytes of all.
func followStreams(ctx context.Context, streams []io.ReadCloser, cfg logtail.Config, h logtail.Handler) error {
	var mu sync.Mutex
	var offset int64
	one := logtail.Handler{
		Line: func(l logtail.Line) error {
			mu.Lock()
			defer mu.Unlock()
			l.Offset, offset = offset, offset+l.Size
			return h.Line(l)
		},
		Gap: func(g logtail.Gap) {
			mu.Lock()
			defer mu.Unlock()
			offset += g.Bytes
			h.Gap(g)
		},
	}
	var group errgroup.Group
	for _, s := range streams {
		group.Go(func() error { return logtail.FollowStream(ctx, s, cfg, one) })
	}
	return group.Wait()
}

// patient is a writer whose reader may have gone: the rest is taken all the same.
type patient struct{ io.Writer }

func (p patient) Write(b []byte) (int, error) {
	_, _ = p.Writer.Write(b)
	return len(b), nil
}

func closeAll(files []*os.File) (err error) {
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}
