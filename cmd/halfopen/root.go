package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"halfopen/timeline"
)

const version = "0.1.0"

// Exit codes, the same for every command and output format.
const (
	exitOK           = 0 // done, nothing stalled
	exitError        = 1
	exitUsage        = 2
	exitStalled      = 3 // stalled or reproduced
	exitInconclusive = 4
)

const exitHelp = `Exit codes: 0 done and nothing stalled, 1 error, 2 usage, 3 stalled or reproduced, 4 inconclusive.`

// codeError carries an exit code that is an answer, not a failure: nothing more
// is printed.
type codeError int

func (c codeError) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// usageError is a mistake in the command line.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)

	var code codeError
	var bad usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &bad):
		fmt.Fprintf(stderr, "halfopen: %v\nSee '%s --help'.\n", err, cmd.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(stderr, "halfopen: %v\n", err)
		return exitError
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "halfopen",
		Short: "The flight recorder for TCP log shipping",
		Long: `halfopen is the flight recorder for TCP log shipping. It records what the kernel, a log
shipper, its receiver and the network between them did, on one clock; says whether a
connection is half-open, and why; and leaves evidence.

` + exitHelp,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			msg := fmt.Sprintf("there is no command %q", args[0])
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				msg += "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return usage("%s", msg)
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newCheck(), newDoctor(), newDrop(), newLab(), newLint(), newMark(), newMerge(), newRecord(), newSnapshot(), newVerdict(), newVerify(), newParty("lab-shipper"), newParty("lab-receiver"), newParty("lab-proxy"), newGuard())
	return root
}

// noArgs and oneArg are cobra's, with our exit code.
func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unexpected argument %q", args[0])
	}
	return nil
}

func oneRecording(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage("unexpected argument %q: one recording at a time", args[1])
	}
	return nil
}

// findRecording is the recording that the command line names: ./evidence if none. It
// tells what was passed over for it.
func findRecording(args []string, stderr io.Writer) (path string, err error) {
	name := defaultEvidence
	if len(args) > 0 {
		name = args[0]
	}
	path, passed, err := timeline.FindNewest(name)
	for _, p := range passed {
		fmt.Fprintf(stderr, "halfopen: %q is newer and passed over: it is empty, its recorder was killed at once\n", p)
	}
	return path, err
}

const defaultEvidence = "evidence"
