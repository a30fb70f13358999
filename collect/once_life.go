package collect

import (
	"cmp"
	"context"
	"os"
	"strings"

	"halfopen/timeline"
)

// Once reads the present life, if there is one.
func (f *Following) Once(ctx context.Context, rec *Recorder) {
	watching, enough := context.WithCancel(ctx)
	defer enough()
	read := false
	err := f.Watch(watching, func(p Process) {
		if !read {
			read = true
			f.once(ctx, rec, p)
		}
		enough()
	})
	if !read {
		rec.Fail("process of "+f.Name, 0, cmp.Or(err, context.Cause(ctx), errNotRunning))
	}
}

func (f *Following) once(ctx context.Context, rec *Recorder, p Process) {
	var sources []Source
	for i, path := range p.Logs {
		if path == "" {
			continue
		}
		l := f.NewLog(i, path)
		f.Counters.Hear(rec, l)
		sources = append(sources, l)
	}
	if p.Running {
		f.tell(rec, timeline.Started, p)
		opened, done, err := f.Open(p)
		if err != nil {
			rec.Fail("process of "+f.Name, 0, err)
		} else {
			defer done()
			sources = append(sources, opened...)
		}
	} else {
		rec.Fail("process of "+f.Name, 0, errNotRunning)
	}
	_ = rec.once(ctx, endsWithinProcess, sources) // what is not read in time is told there
}

// Once reads what is there, from its position on. A copy without a line is none.
func (l *Logs) Once(ctx context.Context, rec *Recorder) {
	if !strings.HasPrefix(l.Path, ContainerPrefix) {
		ended, end := context.WithCancel(ctx)
		end() // a follower reads what is there once more
		ctx = ended
	}
	_ = l.Run(ctx, rec) // never an error
	if strings.HasPrefix(l.Path, ContainerPrefix) && ctx.Err() != nil {
		rec.Fail(nameOf(l), 0, ErrTime)
	}
	if st, err := os.Stat(rec.Path(l.copyName())); err == nil && st.Size() == 0 {
		os.Remove(rec.Path(l.copyName()))
	}
}
