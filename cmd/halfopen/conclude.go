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

// conclude ends a recording that ran until err, judges it from its files and seals
// the evidence. What the disk did not take is judged from memory: a full disk must
// not cost the verdict.
func conclude(ctx context.Context, rec *collect.Recorder, err error) (verdict.Verdict, error) {
	end := timeline.End{Reason: timeline.EndDone}
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		end.Reason = timeline.EndInterrupted
	case err != nil:
		end.Reason, end.Error = timeline.EndError, err.Error()
	}
	_ = rec.Close(end) // Incomplete tells of it
	whole, err := timeline.LoadWith(rec.Prefix()+timeline.Suffix, rec.Unwritten())
	if err != nil {
		return verdict.Verdict{}, err
	}
	v := verdict.Judge(whole, verdict.Defaults())
	for _, f := range []struct {
		rest string
		json bool
	}{{"verdict.json", true}, {"verdict.txt", false}} {
		out, err := render(v, f.json)
		if err != nil {
			return v, err
		}
		rec.Save(f.rest, "verdict", out)
	}
	return v, nil
}

// announce concludes a recording, prints its verdict, and returns it as an exit
// code, or the error that ended the recording or kept it from being whole.
func announce(ctx context.Context, rec *collect.Recorder, err error, asJSON bool, stdout, stderr io.Writer) error {
	v, cerr := conclude(ctx, rec, err)
	if cerr != nil {
		return errors.Join(err, rec.Incomplete(), cerr)
	}
	serr := rec.Seal() // first: the evidence is whole whoever reads the verdict
	out, rerr := render(v, asJSON)
	if rerr != nil {
		return errors.Join(rerr, serr)
	}
	_, werr := stdout.Write(out)
	fmt.Fprintf(stderr, "evidence: %s-*\n", rec.Prefix())
	if werr != nil {
		return errors.Join(fmt.Errorf("print verdict: %w", werr), serr)
	}
	if err != nil && ctx.Err() == nil {
		return errors.Join(err, rec.Incomplete(), serr)
	}
	if bad := errors.Join(rec.Incomplete(), serr); bad != nil {
		return bad
	}
	return answer(v)
}
