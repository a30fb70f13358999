// Package collect turns readings of the sources into records and evidence files,
// and owns the goroutines that do so. It never judges.
package collect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"halfopen/timeline"
)

// Source reads one thing for as long as ctx lasts, and returns nil then. What it
// can't read is a Failure record; an error ends the whole recording.
type Source interface {
	Run(ctx context.Context, rec *Recorder) error
}

// Witness is a Source that can also leave its raw material as evidence files, at
// the start, at each change of phase, every minute and at the end.
type Witness interface {
	Source
	Keep(ctx context.Context, rec *Recorder, phase string)
}

// Phases of an experiment, as they appear in the names of evidence files.
const (
	Before = "before"
	During = "during"
	After  = "after"
)

// Recorder is a recording under way: the timeline and the files beside it.
type Recorder struct {
	dir    string
	prefix string
	began  time.Time
	tl     *timeline.Writer
	phases chan phase
	// patience is how long a disk is waited for, diskPatience.
	patience time.Duration

	unwritten unwritten
	kept      ledger

	folder os.FileInfo // of dir when the recording began
	astray bool        // it is another one by now
}

// phase is a change of phase; kept is closed when its raw evidence is.
type phase struct {
	name string
	kept chan struct{}
}

// last asks for the last raw evidence; it is no phase of its own.
const last = ""

// keepEvery is how often raw evidence is kept while the phase does not change.
const keepEvery = time.Minute

// lookEvery is how often the folder of the evidence is looked for.
const lookEvery = 2 * time.Second

// Open makes a new recording in folder dir, which is made if need be. The
// recording's files all start with the experiment's name and the time.
func Open(dir string, h timeline.Header, observe func(timeline.Record)) (*Recorder, error) {
	if err := timeline.CheckExperiment(h.Experiment); err != nil {
		return nil, err
	}
	if err := Folder(dir); err != nil {
		return nil, err
	}
	sweep(dir)
	host(&h)
	began := time.Now()
	base := timeline.Prefix(h.Experiment, began)
	for try := 1; ; try++ {
		prefix := base
		if try > 1 {
			prefix = fmt.Sprintf("%s-%d", base, try)
		}
		tl, err := timeline.Create(filepath.Join(dir, prefix+timeline.Suffix), h, observe)
		if errors.Is(err, fs.ErrExist) {
			continue // another recording started in the same second
		}
		if err != nil {
			return nil, fmt.Errorf("%w; name a folder you may write to with --evidence", err)
		}
		r := &Recorder{dir: dir, prefix: prefix, began: began, tl: tl, phases: make(chan phase), patience: diskPatience}
		r.folder, _ = os.Stat(dir) // nil: it is gone again, which will be told
		return r, nil
	}
}

// Append adds a record; took is how long the reading took. It returns the record's
// number.
func (r *Recorder) Append(took time.Duration, b timeline.Body) uint64 { return r.tl.Append(took, b) }

// Fail records that a reading of the source could not be had.
func (r *Recorder) Fail(source string, took time.Duration, err error) {
	r.Append(took, timeline.Body{Failure: &timeline.Failure{Source: source, Error: err.Error()}})
}

// Name is the name of an evidence file of this recording, without folder.
func (r *Recorder) Name(rest string) string { return r.prefix + "-" + rest }

// Path is where the evidence file of that name stands.
func (r *Recorder) Path(rest string) string { return filepath.Join(r.dir, r.Name(rest)) }

// Prefix is the path that all files of the recording start with.
func (r *Recorder) Prefix() string { return filepath.Join(r.dir, r.prefix) }

// stamp names the moment in the file names of raw evidence.
func stamp() string { return time.Now().UTC().Format("150405.000") }

// Run runs the sources for as long as the script runs, which is the experiment
// itself, and takes the last raw evidence when it is over. It returns the
// script's error, or that of a source, which ends the script.
func (r *Recorder) Run(ctx context.Context, script func(context.Context) error, sources ...Source) error {
	asked := witnesses(sources)
	// The sources outlive the script, even one that Ctrl-C ended, until the last
	// raw evidence is kept.
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range sources {
		group.Go(func() error { return s.Run(watching, r) })
	}
	group.Go(func() error { r.keepRegularly(watching, asked); return nil })
	group.Go(func() error {
		defer stop()
		err := script(ctx)
		r.ask(phase{name: last, kept: make(chan struct{})})
		return err
	})
	return group.Wait()
}

// Phase starts a phase of the experiment, and returns when its raw evidence is
// kept. Only the script of Run may call it.
func (r *Recorder) Phase(name string) { r.ask(phase{name: name, kept: make(chan struct{})}) }

func (r *Recorder) ask(p phase) {
	r.phases <- p
	<-p.kept
}

// phaseOf starts the phase that a drop mark tells of, unless ctx ends before.
func (r *Recorder) phaseOf(ctx context.Context, drop string) {
	name := During
	if drop == timeline.DropEnd {
		name = After
	}
	select {
	case r.phases <- phase{name: name, kept: make(chan struct{})}:
	case <-ctx.Done():
	}
}

func (r *Recorder) keepRegularly(ctx context.Context, witnesses []Witness) {
	tick, look := time.NewTicker(keepEvery), time.NewTicker(lookEvery)
	defer tick.Stop()
	defer look.Stop()
	always := context.WithoutCancel(ctx) // what was begun is kept
	now := Before
	keep(always, r, witnesses, now)
	for {
		select {
		case p := <-r.phases:
			if p.name != last {
				now = p.name
			}
			keep(always, r, witnesses, now)
			close(p.kept)
		case <-tick.C:
			keep(always, r, witnesses, now)
		case <-look.C:
			r.lookForFolder()
		case <-ctx.Done():
			return
		}
	}
}

// lookForFolder tells, once, that the folder of the evidence was removed, or another
// put in its place: what is written then is seen by nobody.
func (r *Recorder) lookForFolder() {
	now, err := os.Stat(r.dir)
	if r.astray || err == nil && r.folder != nil && os.SameFile(now, r.folder) {
		return
	}
	r.astray = true
	r.Lose("evidence folder", fmt.Errorf("%q was removed or replaced while it was recorded to: what is written from now on is lost", r.dir))
}

func witnesses(sources []Source) (out []Witness) {
	for _, s := range sources {
		if w, ok := s.(Witness); ok {
			out = append(out, w)
		}
	}
	return out
}

// keep asks every witness for its raw material, all at once: a hung endpoint
// must not delay the others.
func keep(ctx context.Context, r *Recorder, witnesses []Witness, phase string) {
	var wait sync.WaitGroup
	for _, w := range witnesses {
		wait.Go(func() { w.Keep(ctx, r, phase) })
	}
	wait.Wait()
}

// Close ends the timeline. The manifest is written after it, by Seal.
func (r *Recorder) Close(end timeline.End) error {
	err := r.tl.Close(end)
	if err != nil {
		r.unwritten.note(err)
	}
	return err
}

// Seal writes the manifest over all files of the recording, and under sudo hands
// them to the user who called it: the evidence may hold secrets, so it is not for
// everybody, but it is his.
func (r *Recorder) Seal() error {
	_, odd := timeline.WriteManifest(r.Prefix())
	files, err := timeline.Files(r.Prefix())
	if err != nil {
		return errors.Join(odd, err)
	}
	for i, f := range files {
		files[i] = filepath.Join(r.dir, f)
	}
	return errors.Join(odd, Hand(files...))
}

// Hand gives files to the user who called sudo, if somebody did. One that is not
// there is no error.
func Hand(paths ...string) error {
	uid, gid, ok := caller()
	for _, path := range paths {
		if !ok {
			break
		}
		if err := os.Lchown(path, uid, gid); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("hand the evidence to user %d: %w", uid, err)
		}
	}
	return nil
}

// Folder makes the folder for evidence, if need be, and hands it to the user who
// called sudo.
func Folder(dir string) error {
	_, missing := os.Stat(dir)
	err := os.MkdirAll(dir, 0o750)
	if err == nil && missing != nil {
		err = Hand(dir)
	}
	if err != nil {
		return fmt.Errorf("make evidence folder: %w; name another with --evidence", err)
	}
	return nil
}

// caller is the user who called sudo.
func caller() (uid, gid int, ok bool) {
	uid, uerr := strconv.Atoi(os.Getenv("SUDO_UID"))
	gid, gerr := strconv.Atoi(os.Getenv("SUDO_GID"))
	return uid, gid, uerr == nil && gerr == nil && os.Geteuid() == 0
}
