package collect

import (
	"cmp"
	"context"
	"os"
	"strings"
	"time"

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
	_ = rec.Once(ctx, sources...) // what is not read in time is told there
}

// engineWithin is how long a container engine is given to tell the lines that it
// keeps: it does not say where they end.
const engineWithin = 300 * time.Millisecond

// Once reads what is there, from its position on. A copy without a line is none.
func (l *Logs) Once(ctx context.Context, rec *Recorder) {
	ended, end := context.WithCancel(ctx)
	if strings.HasPrefix(l.Path, ContainerPrefix) {
		ended, end = context.WithTimeout(ctx, engineWithin)
	} else {
		end() // a follower reads what is there once more
	}
	defer end()
	_ = l.Run(ended, rec) // never an error
	if st, err := os.Stat(rec.Path(l.copyName())); err == nil && st.Size() == 0 {
		os.Remove(rec.Path(l.copyName()))
	}
}
