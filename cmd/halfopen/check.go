package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"halfopen/report"
	"halfopen/verdict"
)

// checkupOptions is the command line of halfopen check.
type checkupOptions struct {
	recordOptions // what to look at
	over, timeout time.Duration
	th            verdict.Thresholds
	plugin        bool
	warn, crit    limitSpan
	limited       bool // one of the two is given
}

// pluginFlag is looked for in the command line before it is parsed: to a
// monitoring system a mistake in it must not look like a stall.
const pluginFlag = "plugin"

func newCheck() *cobra.Command {
	o := checkupOptions{warn: limitSpan(verdict.Defaults().Silent), crit: limitSpan(verdict.Defaults().StallAfter)}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say at once how each shipper's connections are: healthy, idle or stalled",
		Long: `check finds the log shippers of this host as "halfopen record" does, reads their sockets
and counters twice, a second apart, and says of each connection whether it is healthy, idle
or stalled, of which class, for how long, what waits behind it, when the kernel will give it
up, and what to do next. It writes nothing and needs no recording.

What is called stalled is proven by the kernel's own clocks: the age of the last ACK,
retransmissions and their backoff, probes of a closed window or without an answer; or by
readings at least --stall-after apart (--over 1m). A connection under load is called half-open
as soon as more packets in a row went unanswered than its losses of before explain (--outage,
--chance); until --stall-after that is marked "confidence low", for a path that is down for a
moment looks the same. What can't be told is called unknown, with the reason.

It takes as long as --over and a little, some 5s where an endpoint of counters hangs, and
never longer than --timeout; what was had by then is shown, marked as partial, and called
unknown, unless something has stalled.

As a monitoring plugin (--plugin) it prints one line with performance data and the report
behind it. --warning and --critical are for how long acks stand still on any connection:
a number of seconds, or 2m.

Exit codes: 0 healthy or idle, 1 error, 2 usage, 3 stalled, 4 unknown, partial or no shipper found.
With --plugin: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, errors and usage among the latter.`,
		Example: `  sudo halfopen check
  sudo halfopen check --container filebeat --over 1m
  sudo halfopen check --pid 1234 --port 24224 --stats 127.0.0.1:24220
  sudo halfopen check --json | jq '.shippers[].connections[] | select(.health == "stalled")'

  # Icinga 2, or Nagios by NRPE; sudoers must allow it without a password:
  object CheckCommand "halfopen" {
    command = [ "sudo", "/usr/local/bin/halfopen", "check", "--plugin", "--warning", "10", "--critical", "30" ]
  }
  command[check_halfopen]=sudo /usr/local/bin/halfopen check --plugin -w 10 -c 30`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.limited = cmd.Flags().Changed("warning") || cmd.Flags().Changed("critical")
			return o.answer(cmd.OutOrStdout(), o.run(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		o.plugin = o.plugin || slices.Contains(os.Args, "--"+pluginFlag)
		return o.answer(cmd.OutOrStdout(), usageError{err})
	})
	f := cmd.Flags()
	f.SortFlags = false
	f.Var(&o.ports, "port", "port of the connections; repeats")
	f.Lookup("port").DefValue = "those that the programs use, else 5044"
	f.IntSliceVar(&o.pids, "pid", nil, "check this process; repeats")
	f.StringArrayVar(&o.containers, "container", nil, "check this container, by name or id; repeats")
	f.StringArrayVar(&o.netns, "netns", nil, "check this network namespace, by path; repeats")
	f.StringArrayVar(&o.stats, "stats", nil, "endpoint of the counters, where it is not found; one for each place, in order")
	f.DurationVar(&o.over, "over", time.Second, "time between the two readings; 0s: one reading")
	f.DurationVar(&o.timeout, "timeout", 0, "end after so long, whatever hangs")
	f.Lookup("timeout").DefValue = "8s more than --over"
	f.BoolVar(&o.plugin, pluginFlag, false, "answer as a monitoring plugin")
	f.VarP(&o.warn, "warning", "w", "of --plugin: warn where acks stand still for longer")
	f.VarP(&o.crit, "critical", "c", "of --plugin: critical where acks stand still for longer")
	f.BoolVar(&o.json, "json", false, "print JSON")
	addThresholds(f, &o.th)
	return cmd
}

// hangs is how long readings may take beside the time between them: with the
// default of --over it stays below the 10 s that monitoring systems wait.
const hangs = 8 * time.Second

// judging is the part of --timeout that is left for the answer.
func (o *checkupOptions) judging() time.Duration { return min(o.timeout/5, 2*time.Second) }

func (o *checkupOptions) validate(args []string) error {
	if len(args) > 0 {
		return usage("unexpected argument %q", args[0])
	}
	if o.over < 0 || o.over > time.Hour {
		return usage("--over %s: want 0s to 1h", o.over)
	}
	if o.timeout == 0 {
		o.timeout = o.over + hangs
	}
	switch {
	case o.timeout-o.judging() <= o.over:
		return usage("--timeout %s: want more than --over, %s, and some time to look", o.timeout, o.over)
	case o.plugin && o.json:
		return usage("--plugin and --json are two forms of one answer: give one")
	case o.limited && !o.plugin:
		return usage("--warning and --critical are limits of --plugin: give that too, or --stall-after and --silent instead")
	case o.warn > o.crit:
		return usage("--warning %s is more than --critical %s", &o.warn, &o.crit)
	}
	if err := o.checkNamed(); err != nil {
		return err
	}
	return checkThresholds(o.th)
}

func (o *checkupOptions) run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if err := o.validate(args); err != nil {
		return err
	}
	o.ports.hint(stderr)
	ctx, stop := untilSignal(ctx)
	defer stop()
	c, err := o.visit(ctx)
	if err != nil {
		return err
	}
	text, code := report.Check(c), checkupCode(c)
	switch {
	case o.plugin:
		var status report.Status
		text, status = report.Plugin(c, report.Limits{Warning: time.Duration(o.warn), Critical: time.Duration(o.crit)})
		code = int(status)
	case o.json:
		if text, err = report.JSON(c); err != nil {
			return err
		}
	}
	if _, err := stdout.Write(text); err != nil {
		return fmt.Errorf("print the check: %w", err)
	}
	if code == exitOK {
		return nil
	}
	return codeError(code)
}

// checkupCode is the answer as an exit code.
func checkupCode(c verdict.Checkup) int {
	switch c.Health {
	case verdict.Stuck:
		return exitStalled
	case verdict.Healthy, verdict.Idle:
		return exitOK
	}
	return exitInconclusive
}

// answer gives an error the form and the exit code that were asked for.
func (o *checkupOptions) answer(stdout io.Writer, err error) error {
	var done codeError
	if err == nil || errors.As(err, &done) {
		return err
	}
	if o.plugin {
		_, _ = stdout.Write(report.PluginError(err)) // who can't read it has the exit code
		return codeError(report.PluginUnknown)
	}
	if _, none := errors.AsType[nothingFoundError](err); none {
		if o.json {
			text, err := report.JSON(verdict.Checkup{Health: verdict.Untold, Summary: err.Error(), Time: time.Now().UTC(), Shippers: []verdict.ShipperCheck{}, Thresholds: o.th})
			if err == nil {
				_, err = stdout.Write(text)
			}
			if err != nil {
				return err
			}
		} else {
			fmt.Fprintf(stdout, "UNKNOWN\n%s\n", report.Plain(err.Error()))
		}
		return codeError(exitInconclusive)
	}
	return err
}
