package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"halfopen/timeline"
	"halfopen/verdict"
)

// snapshotOptions is the command line of halfopen snapshot.
type snapshotOptions struct {
	recordOptions
	named      bool // --evidence was given
	over       time.Duration
	timeout    time.Duration
	stallAfter time.Duration
	keep       string
	kept       timeline.Keep
}

func newSnapshot() *cobra.Command {
	var o snapshotOptions
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Record one reading of everything, and count the connections by state; for cron",
		Long: `snapshot finds what ships logs here, as "halfopen record" does, reads everything once
(sockets, kernel counters, stats endpoints, owners, connection tracking, packet filter rules,
interfaces, the log lines that came since the snapshot before) and keeps it as a small recording in --evidence. Then it
shows how many connections of each port are in each state, how full the listeners' accept
queues are, and which of the kernel's counters grew until a second look. Ctrl-C brings the
second look forward.

The snapshots of a folder are a series: "halfopen verdict FOLDER" judges all of them as one
recording.

For cron there is --quiet: no table, no second look, and no output while all is well. When
two snapshots in a row, --stall-after apart or more, prove a stall (the same connection,
acks still, work waiting), it prints one line and exits with 3, so that cron mails then. What
could not be read is noted in the snapshot alone; what could not be written, or was not read
within --timeout, is told on stderr too, with exit code 1.

Only one snapshot is taken in a folder at a time. A second one says so and leaves, with exit
code 1; with --quiet in silence and with 0, unless the first has lasted for twice --timeout.

It needs no rights for the namespace it runs in, and names what it may not look into. Where
./evidence can't be written and --evidence is not given, the table is shown all the same.

` + exitHelp,
		Example: `  halfopen snapshot                                # whatever ships logs here, else port 5044
  halfopen snapshot --port 24224 --port 5044
  sudo halfopen snapshot --container logstash --over 10s
  halfopen snapshot --json | jq '.last.ports[0].server.CLOSE_WAIT'
  */5 * * * * root halfopen snapshot --quiet --evidence /var/lib/halfopen --keep 14d/200M   # /etc/cron.d/halfopen
  halfopen verdict /var/lib/halfopen               # all snapshots that are kept`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.config.apply(cmd); err != nil {
				return err
			}
			o.named = cmd.Flags().Changed("evidence")
			if err := o.check(); err != nil {
				return err
			}
			if !o.quiet {
				o.ports.hint(cmd.ErrOrStderr())
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return o.within(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	o.addPlaces(f)
	o.logs.resume, o.once = true, true
	_ = f.MarkHidden("resume") // always so
	f.StringVar(&o.keep, "keep", "", "remove the oldest snapshots of the series beyond this age, size or both: 14d/200M; the newest two stay")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "end after so long, with what was read until then; --over comes on top")
	f.DurationVar(&o.stallAfter, "stall-after", verdict.Defaults().StallAfter, "how long acks must stand still with work waiting")
	f.DurationVar(&o.over, "over", time.Second, "time between the two looks; 0s: one look, no trend")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "for cron: no output unless a stall is proven")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// minTimeout leaves a second for the readings, and one for what comes after them.
const minTimeout = 2 * time.Second

func (o *snapshotOptions) check() (err error) {
	switch {
	case o.over < 0 || o.over > time.Hour:
		return usage("--over %s: want 0s to 1h", o.over)
	case o.timeout < minTimeout || o.timeout > time.Hour:
		return usage("--timeout %s: want %s to 1h", o.timeout, minTimeout)
	case o.stallAfter <= 0:
		return usage("--stall-after %s: want more than 0s", o.stallAfter)
	case o.keep != "":
		if o.kept, err = timeline.ParseKeep(o.keep); err != nil {
			return usage("--keep %w", err)
		}
	}
	o.logs.positions = o.experiment + "-snapshot-positions.json"
	return o.checkPlaces()
}

// within takes the snapshot in bounded time: a disk that hangs can't be waited for,
// and goes with the process.
func (o *snapshotOptions) within(ctx context.Context, stdout, stderr io.Writer) error {
	most := o.timeout
	if !o.quiet {
		most += o.over
	}
	done := make(chan error, 1)
	go func() { done <- o.run(ctx, stdout, stderr) }()
	select {
	case err := <-done:
		return err
	case <-time.After(most):
		return fmt.Errorf("take a snapshot: it was not done within --timeout %s, and is given up: try a longer one; where none is long enough, see whether the disk of %q still answers", o.timeout, o.evidence)
	}
}

func (o *snapshotOptions) run(ctx context.Context, stdout, stderr io.Writer) error {
	t, err := o.take(ctx)
	var busy busyError
	switch {
	case errors.As(err, &busy) && o.quiet && !busy.lasts(o.timeout):
		return nil
	case errors.As(err, &busy), err != nil && (o.quiet || t.subjects == nil && !t.unkept):
		return err
	}
	if o.quiet {
		if t.stalled != "" {
			fmt.Fprintln(stdout, t.stalled)
		}
	} else {
		if terr := o.table(ctx, t, stdout, stderr); terr != nil {
			return terr
		}
		why := err
		if o.named {
			why = nil
		}
		t.tell(stderr, why)
	}
	switch {
	case t.stalled != "":
		if t.late != nil {
			fmt.Fprintf(stderr, "halfopen: %v\n", t.late)
		}
		return codeError(exitStalled)
	case t.unkept && !o.named:
		return nil // it was not asked for
	case err != nil:
		return err
	}
	return t.late
}
