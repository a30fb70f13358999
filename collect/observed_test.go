package collect

import (
	"context"
	"slices"
	"sync"
	"testing"

	"halfopen/flow"
	"halfopen/timeline"
)

// observed is a recording whose records a test waits for.
type observed struct {
	*Recorder
	t *testing.T

	mu      sync.Mutex
	records []timeline.Record
}

func observe(t *testing.T) *observed {
	t.Helper()
	o := &observed{t: t}
	h := timeline.Header{Tool: "test", Experiment: "halfopen-nat", Ports: flow.NewPorts(5044)}
	rec, err := Open(t.TempDir(), h, func(r timeline.Record) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.records = append(o.records, r)
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Recorder = rec
	t.Cleanup(func() { rec.Close(timeline.End{Reason: timeline.EndDone}) })
	return o
}

// start runs a source until stop is called, or the test ends.
func (o *observed) start(s Source) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx, o.Recorder); err != nil {
			o.t.Error(err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	o.t.Cleanup(stop)
	return stop
}

func (o *observed) all(is func(timeline.Record) bool) (found []timeline.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.records {
		if is(r) {
			found = append(found, r)
		}
	}
	return found
}

// await waits for the n-th record of a kind.
func (o *observed) await(what string, n int, is func(timeline.Record) bool) timeline.Record {
	o.t.Helper()
	var found []timeline.Record
	if comes(func() bool { found = o.all(is); return len(found) >= n }) {
		return found[n-1]
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.records {
		o.t.Logf("%d: %+v", r.N, r.Body)
	}
	o.t.Fatalf("no %s in 60 s", what)
	return timeline.Record{}
}

func isStats(r timeline.Record) bool   { return r.Stats != nil }
func isFailure(r timeline.Record) bool { return r.Failure != nil }
func isMark(r timeline.Record) bool    { return r.Mark != nil }
func isFile(r timeline.Record) bool    { return r.File != nil }

// files are the names of the evidence files that were recorded.
func (o *observed) files() (names []string) {
	for _, r := range o.all(isFile) {
		names = append(names, r.File.Name[len(o.Name("")):])
	}
	slices.Sort(names)
	return names
}
