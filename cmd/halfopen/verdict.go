package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"halfopen/report"
	"halfopen/timeline"
	"halfopen/verdict"
)

func newVerdict() *cobra.Command {
	var asJSON bool
	var th verdict.Thresholds
	cmd := &cobra.Command{
		Use:   "verdict [RECORDING]",
		Short: "Judge a recording again, from its files alone",
		Long: `verdict reads a recording and judges it: reproduced, recovered, inconclusive, stalled or
not stalled, with the numbers of the records behind each reason. It prints byte for byte
what was written when the recording was made, unless the recording was changed or a newer
version judges better.

RECORDING is a folder (its newest recording), a prefix, or any file of the recording;
./evidence if it is left out. Where the newest recording is a snapshot, the whole series of
snapshots is judged as one; one of them alone is named by its own prefix.

` + exitHelp,
		Example: `  halfopen verdict
  halfopen verdict evidence/halfopen-nat-20260102-030405
  halfopen verdict --json evidence | jq .findings`,
		Args: oneRecording,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkThresholds(th); err != nil {
				return err
			}
			path, err := findRecording(args, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			v, err := judge(path, th)
			if err != nil {
				return err
			}
			out, err := render(v, asJSON)
			if err != nil {
				return err
			}
			if _, err := cmd.OutOrStdout().Write(out); err != nil {
				return fmt.Errorf("print verdict: %w", err)
			}
			return answer(v)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	addThresholds(cmd.Flags(), &th)
	return cmd
}

func judge(path string, th verdict.Thresholds) (verdict.Verdict, error) {
	rec, err := timeline.Load(path)
	if err != nil {
		return verdict.Verdict{}, err
	}
	return verdict.Judge(rec, th), nil
}

// render is the one way a verdict is spelt, on a terminal as in the evidence.
func render(v verdict.Verdict, asJSON bool) ([]byte, error) {
	if !asJSON {
		return report.Text(v), nil
	}
	return report.JSON(v)
}

// answer is the verdict as an exit code.
func answer(v verdict.Verdict) error {
	switch v.Verdict {
	case verdict.Reproduced, verdict.Stalled:
		return codeError(exitStalled)
	case verdict.Recovered, verdict.NotStalled:
		return nil
	}
	return codeError(exitInconclusive)
}
