package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"halfopen/collect"
	"halfopen/container"
	"halfopen/logtail"
)

// followContainer follows the output of a container by the name or id behind the
// path's prefix, also of one that is made anew under the same name.
func followContainer(ctx context.Context, cfg logtail.Config, h logtail.Handler) error {
	reading, refuse := context.WithCancelCause(ctx)
	defer refuse(nil)
	var last container.Container
	end := func() {}
	err := container.Follow(reading, strings.TrimPrefix(cfg.Path, collect.ContainerPrefix), func(c container.Container) {
		if c.ID == last.ID {
			return
		}
		end() // the handler takes one line at a time
		next := cfg
		if last.ID != "" {
			next.From = logtail.FromBeginning
		}
		last = c
		life, stop := context.WithCancel(reading)
		var reader sync.WaitGroup
		reader.Go(func() {
			if err := readContainer(life, c, next, h); err != nil {
				refuse(err)
			}
		})
		end = func() { stop(); reader.Wait() }
	})
	end()
	if cause := context.Cause(reading); ctx.Err() == nil && cause != nil {
		return cause
	}
	return err
}

// readContainer reads the engine's file, and where it keeps none, or none that may
// be read, asks the engine.
func readContainer(ctx context.Context, c container.Container, cfg logtail.Config, h logtail.Handler) error {
	if readable(c.LogPath) {
		cfg.Path = c.LogPath
		return logtail.Follow(ctx, cfg, h)
	}
	return askEngine(ctx, container.Logs, c.ID, cfg, h)
}

// readContainerNow reads what a container has put out so far.
func readContainerNow(ctx context.Context, cfg logtail.Config, h logtail.Handler) error {
	c, err := container.Find(ctx, strings.TrimPrefix(cfg.Path, collect.ContainerPrefix))
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	case readable(c.LogPath):
		ended, end := context.WithCancel(ctx)
		end() // what is there is read once more
		cfg.Path = c.LogPath
		return logtail.Follow(ended, cfg, h)
	}
	return askEngine(ctx, container.LogsNow, c.ID, cfg, h)
}

func readable(path string) bool {
	if path == "" {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// engineLogs is container.Logs or container.LogsNow.
type engineLogs func(ctx context.Context, nameOrID string, from container.LogStart, h container.LogHandler) error

// askEngine reads the output of a container through its engine. The lines are
// those that containerd would write (CRI): time, stream and F, or P for a part,
// before the text.
func askEngine(ctx context.Context, read engineLogs, id string, cfg logtail.Config, h logtail.Handler) error {
	key := collect.ContainerPrefix + id
	var offset int64
	var line []byte
	return read(ctx, id, startOf(cfg, key), container.LogHandler{
		Place: func(place string) { cfg.Positions.Set(key, logtail.Position{Cursor: place}) },
		Line: func(o container.Output) error {
			at, tag := o.RawTime, "F"
			if o.Time.IsZero() {
				at = time.Now().UTC().Format(time.RFC3339Nano)
			}
			if o.Partial {
				tag = "P"
			}
			line = fmt.Appendf(line[:0], "%s %s %s ", at, o.Stream, tag)
			line = append(line, o.Text...)
			l := logtail.Line{File: key, Offset: offset, Bytes: line, Size: int64(len(line)) + 1 + o.Skipped, Cut: o.Skipped > 0}
			offset += l.Size
			return h.Line(l)
		},
		Gap:  func(why string) { h.Gap(logtail.Gap{File: key, Bytes: -1, Why: why}) },
		Note: h.Note,
	})
}

// startOf says from where on the engine is asked.
func startOf(cfg logtail.Config, key string) container.LogStart {
	if at, ok := cfg.Positions.Get(key); ok {
		return container.LogStart{After: at.Cursor}
	}
	start := firstStart(cfg)
	start.Made = cfg.Positions.Saved()
	return start
}

// firstStart is startOf for a container that was never read.
func firstStart(cfg logtail.Config) container.LogStart {
	switch from := cfg.From.(type) {
	case logtail.LastLines:
		return container.LogStart{Last: int(from)}
	case logtail.LastDuration:
		return container.LogStart{Since: time.Now().Add(-time.Duration(from))}
	case logtail.Whence:
		if from == logtail.FromBeginning {
			return container.LogStart{}
		}
	}
	return container.LogStart{Since: time.Now()}
}
