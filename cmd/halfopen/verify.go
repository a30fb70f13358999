package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"halfopen/report"
	"halfopen/timeline"
)

func newVerify() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [RECORDING]",
		Short: "Check that a recording is whole and unchanged",
		Long: `verify reads every record of a recording and checks its checksum, its number and its
clock, and every file against the recording's manifest; of one in several segments, and of
a series of snapshots, all.
It says what is missing, what was changed, and which losses the recorder itself told of.
Nothing is executed.

Exit code 0: whole. 1: not whole, or not a recording.`,
		Example: `  halfopen verify
  halfopen verify --json evidence/halfopen-nat-20260102-030405-timeline.jsonl`,
		Args: oneRecording,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := findRecording(args, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			c, err := timeline.Verify(path)
			if err != nil {
				return fmt.Errorf("verify %s: %w", path, err)
			}
			out := []byte(report.Plain(describe(c)))
			if asJSON {
				out, err = report.JSON(c)
			}
			if err == nil {
				_, err = cmd.OutOrStdout().Write(out)
			}
			if err == nil && !c.Whole() {
				err = codeError(exitError)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func describe(c timeline.Check) string {
	out := fmt.Sprintf("%s\n%d records", c.Path, c.Records)
	if c.Snapshots > 0 {
		out += fmt.Sprintf(" in %d snapshots", c.Snapshots)
	} else if c.Segments > 1 {
		out += fmt.Sprintf(" in %d segments", c.Segments)
	}
	switch {
	case c.FilesGood == nil:
		out += ", no manifest, so not proven whole (merge writes none: verify its sources)"
	default:
		out += fmt.Sprintf(", %d files as they were", *c.FilesGood)
	}
	out += "\n"
	if !c.Ended {
		out += "cut short: the last record is missing\n"
	}
	if c.Removed > 0 {
		if c.Snapshots == 0 {
			out += fmt.Sprintf("begins with record %d: ", c.First)
		}
		out += fmt.Sprintf("the recorder removed %d files, to keep no more than it was told\n", c.Removed)
	}
	for _, d := range c.Damage {
		out += "damaged: " + d.String() + "\n"
	}
	if c.More > 0 {
		out += "damaged: " + plural(c.More, "more line") + "\n"
	}
	for _, h := range c.Holes {
		out += fmt.Sprintf("missing: %d records after number %d\n", h.Missing, h.After)
	}
	for _, g := range c.Gaps {
		out += fmt.Sprintf("gap: %s lost %d: %s\n", g.Source, g.Lost, g.Why)
	}
	for _, n := range c.Disorder {
		out += fmt.Sprintf("out of order: record %d\n", n)
	}
	for _, k := range c.Unknown {
		out += fmt.Sprintf("unknown kind of record, kept: %q\n", k)
	}
	for _, b := range c.FilesBad {
		out += "file: " + b + "\n"
	}
	for _, p := range c.Parts {
		out += "\n" + describe(p)
	}
	if c.Whole() {
		out += "whole\n"
	}
	return out
}
