package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"halfopen/collect"
	"halfopen/timeline"
	"halfopen/verdict"
)

// conclude ends a recording that ran until err, judges it from its file and seals
// the evidence.
func conclude(ctx context.Context, rec *collect.Recorder, err error) (verdict.Verdict, error) {
	end := timeline.End{Reason: timeline.EndDone}
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		end.Reason = timeline.EndInterrupted
	case err != nil:
		end.Reason, end.Error = timeline.EndError, err.Error()
	}
	if err := rec.Close(end); err != nil {
		return verdict.Verdict{}, err
	}
	v, err := judge(rec.Prefix() + timeline.Suffix)
	if err != nil {
		return v, err
	}
	for _, f := range []struct {
		rest string
		json bool
	}{{"verdict.json", true}, {"verdict.txt", false}} {
		out, err := render(v, f.json)
		if err != nil {
			return v, err
		}
		if err := rec.Save(f.rest, "verdict", out); err != nil {
			return v, err
		}
	}
	return v, rec.Seal()
}

// announce concludes a recording, prints its verdict, and returns it as an exit
// code, or the error that ended the recording.
func announce(ctx context.Context, rec *collect.Recorder, err error, asJSON bool, stdout, stderr io.Writer) error {
	v, cerr := conclude(ctx, rec, err)
	if cerr != nil {
		return errors.Join(err, cerr)
	}
	out, rerr := render(v, asJSON)
	if rerr != nil {
		return rerr
	}
	if _, werr := stdout.Write(out); werr != nil {
		return fmt.Errorf("print verdict: %w", werr)
	}
	fmt.Fprintf(stderr, "evidence: %s-*\n", rec.Prefix())
	if err != nil && ctx.Err() == nil {
		return err
	}
	return answer(v)
}
