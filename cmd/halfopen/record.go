package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"halfopen/beatstats"
	"halfopen/collect"
	"halfopen/discover"
	"halfopen/timeline"
)

// recordOptions is the command line of halfopen record.
type recordOptions struct {
	evidence, experiment string
	ports                portFlag
	pids                 []int
	containers, netns    []string
	stats, logs          []string
	sockets              string
	lasts                time.Duration
	quiet, json          bool
}

func newRecord() *cobra.Command {
	var o recordOptions
	cmd := &cobra.Command{
		Use:   "record",
		Short: "Record the log shippers and receivers of this host, and judge what was seen",
		Long: `record finds Filebeat, Logstash, Fluentd, Fluent Bit and Vector on this host by itself, with
their network namespaces, connections, counters and logs, says what it found, and records
them until Ctrl-C or --for is over. It follows a container over its restarts. It changes
nothing.

What it should watch can be named instead: --pid, --container and --netns repeat, so that a
shipper and its receiver stand side by side in one recording.

Looking into another network namespace takes CAP_SYS_ADMIN; "halfopen doctor" says which
rights are missing here and what each would add.

` + exitHelp,
		Example: `  sudo halfopen record                                    # whatever ships logs here
  sudo halfopen record --container filebeat --container logstash --for 10m
  sudo halfopen record --pid 1234 --port 24224 --stats 127.0.0.1:24220`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			o.ports.hint(cmd.ErrOrStderr())
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return runRecord(ctx, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.evidence, "evidence", defaultEvidence, "folder for the recording")
	f.StringVar(&o.experiment, "experiment", "halfopen-nat", "first part of the names of all files")
	f.Var(&o.ports, "port", "port of the connections; repeats")
	f.IntSliceVar(&o.pids, "pid", nil, "watch this process; repeats")
	f.StringArrayVar(&o.containers, "container", nil, "watch this container, by name or id; repeats")
	f.StringArrayVar(&o.netns, "netns", nil, "watch this network namespace, by path; repeats")
	f.StringArrayVar(&o.stats, "stats", nil, "endpoint of the counters, where it is not found; one for each place, in order")
	f.StringArrayVar(&o.logs, "log", nil, "log file, where it is not found; one for each place, in order")
	f.StringVar(&o.sockets, "sockets", collect.Auto, "how sockets are read: diag (inet_diag), procfs (/proc/net/tcp), auto")
	f.DurationVar(&o.lasts, "for", 0, "stop after so long; 0s: at Ctrl-C")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
	f.BoolVar(&o.json, "json", false, "print the verdict as JSON")
	return cmd
}

func (o *recordOptions) check() error {
	if err := timeline.CheckExperiment(o.experiment); err != nil {
		return usageError{err}
	}
	if o.lasts < 0 {
		return usage("--for %s: want 0s or more", o.lasts)
	}
	if o.sockets != collect.Auto && o.sockets != collect.Diag && o.sockets != collect.Procfs {
		return usage("--sockets %q: want auto, diag or procfs", o.sockets)
	}
	for _, s := range o.stats {
		if _, err := beatstats.ParseEndpoint(s); err != nil {
			return usage("--stats: %w", err)
		}
	}
	for _, p := range o.pids {
		if p <= 0 {
			return usage("--pid %d: want a process id", p)
		}
	}
	return nil
}

func runRecord(ctx context.Context, o recordOptions, stdout, stderr io.Writer) error {
	subjects, err := findSubjects(ctx, o)
	if err != nil {
		return err
	}
	if n := max(len(o.stats), len(o.logs)); n > len(subjects) {
		return usage("--stats and --log go with the places in order: %d are given, for %d places", n, len(subjects))
	}
	if !o.quiet {
		for _, s := range subjects {
			fmt.Fprint(stderr, describeProgram(s.program))
		}
		fmt.Fprintln(stderr, "to watch something else: --pid, --container, --netns, --port, --stats, --log")
	}
	show := newDisplay(stderr, o.quiet)
	rec, err := collect.Open(o.evidence, recordHeader(o, subjects), show.observe)
	if err != nil {
		return err
	}
	for _, s := range subjects {
		if cfg := s.program.Settings; cfg != nil {
			timeout := cfg.OutputTimeout()
			rec.Append(0, timeline.Body{Settings: &timeline.Settings{Name: s.name, File: s.program.Config, Timeout: &timeout, Findings: beatstats.Lint(*cfg)}})
		}
	}
	owners := collect.NewOwners(discover.Redact)
	sources := []collect.Source{collect.Clock{Every: time.Second}, owners, show}
	for _, s := range subjects {
		sources = append(sources, s.source(o, owners))
	}
	show.watch(o.lasts)
	err = rec.Run(ctx, func(ctx context.Context) error { return lastsFor(ctx, o.lasts) }, sources...)
	if o.lasts == 0 && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = nil // Ctrl-C is how a recording without --for ends
	}
	return announce(ctx, rec, err, o.json, stdout, stderr)
}

// lastsFor waits for d, or for Ctrl-C where d is 0.
func lastsFor(ctx context.Context, d time.Duration) error {
	if d > 0 {
		return wait(ctx, d)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func recordHeader(o recordOptions, subjects []*subject) timeline.Header {
	h := timeline.Header{Tool: "halfopen " + version, Experiment: o.experiment, Command: discover.Redact(os.Args), Ports: o.ports.set()}
	for _, s := range subjects {
		h.Places = append(h.Places, s.place())
	}
	return h
}
