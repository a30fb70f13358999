package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"halfopen/collect"
	"halfopen/discover"
	"halfopen/logtail"
	"halfopen/report"
	"halfopen/timeline"
	"halfopen/verdict"
)

// taken is a snapshot that was taken.
type taken struct {
	prefix   string // of its files
	subjects []*subject
	failures []string // what was not read
	stalled  string   // the stall that it proves, in a line
	unkept   bool     // the folder can't be written
	late     error    // something was not written, or not read in time
}

// atEnd is how much of the time is left for what comes after the readings: for those
// that were not in time to end, and for writing and judging.
func (o *snapshotOptions) atEnd() time.Duration {
	return min(max(o.timeout/4, time.Second), 2*time.Second)
}

func (o *snapshotOptions) take(ctx context.Context) (t taken, err error) {
	unlock, err := lockSeries(o.evidence, o.experiment)
	if err != nil {
		t.unkept = !errors.As(err, &busyError{})
		return t, err
	}
	defer unlock()
	reading, cancel := context.WithTimeout(ctx, o.timeout-o.atEnd())
	defer cancel()
	var skipped []string
	if t.subjects, skipped, err = o.watch(reading); err != nil {
		return t, err
	}
	logs, err := o.logs.plan(o.evidence, o.config.matcher)
	if err != nil {
		t.unkept = true
		return t, err
	}
	logs.ask = readContainerNow
	ways, closeWays := o.openAround(t.subjects)
	places := recordPlaces(t.subjects, ways)
	h := recordHeader(o.recordOptions, places)
	h.Snapshot = true
	var failed failures
	rec, err := collect.Open(o.evidence, h, failed.observe)
	if err != nil {
		t.unkept = true
		return t, err
	}
	t.prefix = rec.Prefix()
	path := rec.Prefix() + timeline.Suffix
	before, hasBefore := timeline.Previous(path)
	if logs.set.Positions != nil && hasBefore {
		logs.from = sinceSnapshot(before)
	}
	for _, why := range skipped {
		rec.Fail("discovery", 0, errors.New(why))
	}
	o.config.keep(rec)
	keepSettings(rec, t.subjects)
	late := o.read(reading, rec, t.subjects, ways, logs)
	if late == nil {
		closeWays() // else something may still use them, until the process ends
	}
	t.late = o.end(ctx, rec, late)
	t.failures = failed.told()
	paths := []string{path}
	if hasBefore {
		paths = []string{before, path}
	}
	t.stalled, err = o.stall(paths, rec)
	return t, err
}

// read reads everything once. The error is that some of it was not in time.
func (o *snapshotOptions) read(ctx context.Context, rec *collect.Recorder, subjects []*subject, ways []around, logs logPlan) error {
	owners := collect.NewOwners(discover.Redact)
	all := collect.NewNamespaces(recordPlaces(subjects, nil))
	var sources []collect.Source
	for _, s := range subjects {
		sources = append(sources, s.source(o.recordOptions, all, owners, nil, logs))
	}
	for _, w := range ways {
		sources = append(sources, w.sources(w.place.Name, nil)...)
	}
	late := rec.Once(ctx, append(sources, logs.begin(rec)...)...)
	if late == nil {
		late = rec.Once(ctx, owners)
	}
	if late != nil {
		late = fmt.Errorf("%w: --timeout %s", late, o.timeout)
	}
	return late
}

// end removes the oldest of the series, and closes the snapshot. The error tells of late,
// and of what was not written.
func (o *snapshotOptions) end(ctx context.Context, rec *collect.Recorder, late error) error {
	gone, kerr := timeline.Retain(rec.Prefix()+timeline.Suffix, o.kept, time.Now())
	if gone != nil {
		rec.Append(0, timeline.Body{Removed: gone})
	}
	end := timeline.End{Reason: timeline.EndDone}
	if ctx.Err() != nil {
		end.Reason = timeline.EndInterrupted
	} else if late != nil {
		end.Reason, end.Error = timeline.EndError, late.Error()
	}
	_ = rec.Close(end) // Incomplete tells of it
	serr := errors.Join(rec.Seal(), collect.Hand(filepath.Join(o.evidence, o.logs.positions), lockFile(o.evidence, o.experiment)))
	return errors.Join(late, kerr, rec.Incomplete(), serr)
}

// stall judges the snapshot with the one before it, if there is one.
func (o *snapshotOptions) stall(paths []string, rec *collect.Recorder) (string, error) {
	whole, err := timeline.LoadSnapshots(paths, rec.Unwritten())
	if err != nil {
		return "", err
	}
	th := verdict.Defaults()
	th.StallAfter = o.stallAfter
	return stallLine(verdict.Judge(whole, th), th.StallAfter, whole.Header().Host, rec.Prefix()), nil
}

// watch is what the snapshot is of. Where nothing is found it is this process's own
// namespace; where a process that is named may not be entered, its tables are read
// from outside.
func (o *snapshotOptions) watch(ctx context.Context) (in []*subject, skipped []string, err error) {
	if err := o.logs.require(ctx); err != nil {
		return nil, nil, err
	}
	list, named, err := chooseSubjects(ctx, o.recordOptions)
	if nothing := (nothingFoundError{}); errors.As(err, &nothing) || err != nil && ctx.Err() != nil && len(o.pids)+len(o.containers)+len(o.netns) == 0 {
		skipped, err = []string{err.Error()}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, s := range list {
		place, err := s.look()
		switch {
		case err == nil:
			s.place = place
		case named && errors.Is(err, os.ErrPermission) && s.program.PID != 0:
			s.place, s.outside = timeline.Place{Name: s.name, Role: s.program.Role}, true
			skipped = append(skipped, fmt.Sprintf("%s: %v; its tables are read from outside", s.what(), notEntered(err)))
		case named:
			return nil, nil, fmt.Errorf("watch %s: %w", s.what(), notEntered(err))
		default:
			skipped = append(skipped, fmt.Sprintf("%s: %v", s.what(), notEntered(err)))
			continue
		}
		in = append(in, s)
	}
	if len(in) == 0 {
		own := &subject{netns: ownNetNS, program: discover.Program{Kind: discover.Unknown, Role: discover.Shipper, Why: []string{"the own namespace"}}}
		own.complete(o.recordOptions, 0, nil)
		if own.place, err = own.look(); err != nil {
			return nil, nil, err
		}
		in = append(in, own)
	}
	return in, skipped, o.share(in)
}

// outsideSources read what a process's folder in /proc shows of its namespace.
func (s *subject) outsideSources(o recordOptions, owners *collect.Owners) []collect.Source {
	root := fmt.Sprintf("/proc/%d", s.program.PID)
	return []collect.Source{&collect.Sockets{At: s.name, Root: root, Ports: o.ports.set(), Via: collect.Procfs, Owners: owners}}
}

// sinceSnapshot is where a log begins that has no position: where the snapshot
// before ended.
func sinceSnapshot(path string) logtail.Start {
	const most = 24 * time.Hour
	if st, err := os.Stat(path); err == nil {
		return logtail.LastDuration(min(max(time.Since(st.ModTime()), time.Second), most))
	}
	return logtail.FromNow
}

// stallLine is the stall of at least so long that two snapshots in a row prove, on
// one line; empty where they don't.
func stallLine(v verdict.Verdict, atLeast time.Duration, host, prefix string) string {
	list := v.Shippers
	if len(list) == 0 {
		list = []verdict.Verdict{v}
	}
	var parts []string
	for _, s := range list {
		if s.Verdict != verdict.Stalled || s.Series == nil || s.Series.Stalled < 2 || s.Stall == nil || s.Stall.For < atLeast {
			continue
		}
		part := s.Summary
		if s.Shipper != "" {
			part = s.Shipper + ": " + part
		}
		if s.Connection != nil {
			part += fmt.Sprintf("; %s", *s.Connection)
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return ""
	}
	line := fmt.Sprintf("%s: %s; evidence: %s-*", host, strings.Join(parts, "; "), prefix)
	return strings.ReplaceAll(report.Plain(line), "\n", " ")
}

// failures collects what could not be read.
type failures struct {
	mu   sync.Mutex
	list []string
}

// maxFailures is how many are told on a terminal; the recording has all.
const maxFailures = 20

func (f *failures) observe(r timeline.Record) {
	if r.Failure == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) < maxFailures {
		f.list = append(f.list, r.Failure.Source+": "+r.Failure.Error)
	}
}

func (f *failures) told() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.list
}
