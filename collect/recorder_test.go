package collect

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"halfopen/flow"
	"halfopen/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *Recorder {
	t.Helper()
	rec, err := Open(dir, timeline.Header{Tool: "test", Experiment: "halfopen-nat", Ports: flow.NewPorts(5044)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rec.patience = time.Minute // a busy disk does not hang
	return rec
}

// keeper is a witness that keeps one file a phase.
type keeper struct{ kept chan string }

func (k keeper) Run(ctx context.Context, _ *Recorder) error { <-ctx.Done(); return nil }

func (k keeper) Keep(_ context.Context, rec *Recorder, phase string) {
	rec.keepRaw("raw-"+phase+"-"+stamp()+".log", "test", []byte(phase))
	k.kept <- phase
}

// Raw evidence is kept at the start, at each change of phase and at the end.
func TestRunKeepsEvidence(t *testing.T) {
	dir := t.TempDir()
	rec := open(t, dir)
	k := keeper{kept: make(chan string, 8)}
	var phases []string
	err := rec.Run(t.Context(), func(context.Context) error {
		phases = append(phases, <-k.kept)
		for _, p := range []string{During, After} {
			rec.Phase(p)
			phases = append(phases, <-k.kept)
		}
		return nil
	}, k)
	if err != nil {
		t.Fatal(err)
	}
	phases = append(phases, <-k.kept)
	if want := []string{Before, During, After, After}; !slices.Equal(phases, want) {
		t.Errorf("kept in %v, want %v", phases, want)
	}
	if err := rec.Close(timeline.End{Reason: "done"}); err != nil {
		t.Fatal(err)
	}
	if err := rec.Seal(); err != nil {
		t.Fatal(err)
	}
	c, err := timeline.Verify(rec.Prefix() + timeline.Suffix)
	if err != nil || !c.Whole() || *c.FilesGood < 4 {
		t.Errorf("check %+v, %v", c, err)
	}
}

// failing is a source that breaks.
type failing struct{}

func (failing) Run(context.Context, *Recorder) error { return errors.New("broken") }

func TestBrokenSourceEndsTheRun(t *testing.T) {
	rec := open(t, t.TempDir())
	err := rec.Run(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, failing{})
	if err == nil || err.Error() != "broken" {
		t.Errorf("error %v", err)
	}
	if err := rec.Close(timeline.End{Reason: "error", Error: "broken"}); err != nil {
		t.Fatal(err)
	}
}

// Two recordings in the same second do not meet.
func TestSameSecond(t *testing.T) {
	dir := t.TempDir()
	seen := map[string]bool{}
	for range 5 {
		rec := open(t, dir)
		if seen[rec.Prefix()] {
			t.Errorf("prefix %s is used twice", rec.Prefix())
		}
		seen[rec.Prefix()] = true
		if err := rec.Close(timeline.End{Reason: "done"}); err != nil {
			t.Fatal(err)
		}
		if err := rec.Seal(); err != nil {
			t.Fatal(err)
		}
		if c, err := timeline.Verify(rec.Prefix() + timeline.Suffix); err != nil || !c.Whole() || *c.FilesGood != 1 {
			t.Errorf("check %+v, %v", c, err)
		}
	}
}

// A folder that can't be made is told with the option that names another.
func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h := timeline.Header{Experiment: "halfopen-nat"}
	if _, err := Open(file, h, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error %v", err)
	}
	h.Experiment = "../escape"
	if _, err := Open(t.TempDir(), h, nil); err == nil {
		t.Error("an experiment named ../escape was accepted")
	}
}
