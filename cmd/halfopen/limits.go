package main

import (
	"time"

	"github.com/spf13/pflag"

	"halfopen/collect"
	"halfopen/timeline"
)

// limitFlags bound a long recording on the disk.
type limitFlags struct {
	maxSize, keep string
	every         time.Duration
	limits        collect.Limits
}

func (l *limitFlags) add(f *pflag.FlagSet) {
	f.StringVar(&l.maxSize, "max-size", "64M", "begin another segment of the timeline at this size; the closed one is compressed")
	f.DurationVar(&l.every, "rotate-every", 0, "begin another segment after this time too; 0s: by size alone")
	f.StringVar(&l.keep, "keep", "", "remove the oldest closed segments and raw readings beyond this age, size or both: 14d/200M; copies of logs are kept")
}

func (l *limitFlags) check() (err error) {
	const least = 64 << 10
	l.limits.MaxSize, err = timeline.ParseSize(l.maxSize)
	if err != nil || l.limits.MaxSize < least || l.limits.MaxSize > timeline.MaxSegment {
		return usage("--max-size %q: want 64K to %dM", l.maxSize, timeline.MaxSegment>>20)
	}
	if l.every != 0 && l.every < time.Second {
		return usage("--rotate-every %s: want 1s or more, or 0s", l.every)
	}
	l.limits.Every = l.every
	if l.keep != "" {
		if l.limits.Keep, err = timeline.ParseKeep(l.keep); err != nil {
			return usage("--keep %w", err)
		}
	}
	return nil
}
