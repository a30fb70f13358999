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
	"github.com/spf13/pflag"

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
	stats                []string
	logs                 logFlags
	config               configFlag
	sockets              string
	account              bool
	lasts                time.Duration
	limits               limitFlags
	capture              captureFlags
	beside               beside
	quiet, json          bool
	once                 bool // a snapshot
}

func newRecord() *cobra.Command {
	var o recordOptions
	cmd := &cobra.Command{
		Use:   "record [-- COMMAND...]",
		Short: "Record the log shippers and receivers of this host, and judge what was seen",
		Long: `record finds Filebeat, Logstash, Fluentd, Fluent Bit and Vector on this host by itself, with
their network namespaces, connections, counters and logs, says what it found, and records
them until Ctrl-C or --for is over. It follows a container over its restarts. It changes
nothing, unless --conntrack-accounting asks for it.

It also watches the packet filter, connection tracking and interfaces of their namespaces and
of the host, which forwards a container's packets: a rule, or an element of a set that a rule
looks up, that a script of yours adds and removes is a known cut, without a mark.

What it should watch can be named instead: --pid, --container and --netns repeat, so that a
shipper and its receiver stand side by side in one recording. A namespace (--netns) is a
shipper's or a receiver's by the sockets in it; one without any that forwards is a router's.

Looking into another network namespace takes CAP_SYS_ADMIN; "halfopen doctor" says which
rights are missing here and what each would add.

` + besideHelp + `

` + logHelp + `

` + configHelp + `

A recording of weeks is cut into segments (--max-size) that are compressed when they are
closed; --keep bounds what stays.

` + captureHelp + `

` + exitHelp,
		Example: `  sudo halfopen record                                    # whatever ships logs here
  sudo halfopen record --container filebeat --container logstash --for 10m
  sudo halfopen record -- ./experiment.sh                 # which may call "halfopen mark --drop-start"
  sudo halfopen record --keep 14d/2G                      # for weeks
  sudo halfopen record --capture --container filebeat --container logstash    # who resets us?
  sudo halfopen record --pid 1234 --port 24224 --stats 127.0.0.1:24220
  sudo halfopen record --log 'filebeat=/var/log/filebeat/*.ndjson' --log journal:logstash.service
  sudo halfopen record --log filebeat=/tmp/filebeat.log --log-lines all --for 1m    # all that it holds
  sudo halfopen record --config /etc/halfopen.yml --resume`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.config.apply(cmd); err != nil {
				return err
			}
			if err := o.check(); err != nil {
				return err
			}
			if err := o.beside.take(args, cmd.ArgsLenAtDash(), o.lasts); err != nil {
				return err
			}
			o.ports.hint(cmd.ErrOrStderr())
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return runRecord(ctx, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().SortFlags = false
	o.add(cmd.Flags())
	return cmd
}

func (o *recordOptions) add(f *pflag.FlagSet) {
	o.addPlaces(f)
	f.StringVar(&o.sockets, "sockets", collect.Auto, "how sockets are read: diag (inet_diag), procfs (/proc/net/tcp), auto")
	f.BoolVar(&o.account, "conntrack-accounting", false, "have conntrack count the traffic of connections that begin meanwhile, and keep their times; undone at the end")
	f.DurationVar(&o.lasts, "for", 0, "stop after so long; 0s: at Ctrl-C")
	o.limits.add(f)
	o.capture.add(f)
	o.beside.add(f)
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
	f.BoolVar(&o.json, "json", false, "print the verdict as JSON")
}

// addPlaces adds the options that say what is watched, and where it is kept.
func (o *recordOptions) addPlaces(f *pflag.FlagSet) {
	f.StringVar(&o.evidence, "evidence", defaultEvidence, "folder for the recording")
	f.StringVar(&o.experiment, "experiment", "halfopen-nat", "first part of the names of all files")
	f.Var(&o.ports, "port", "port of the connections; repeats")
	f.Lookup("port").DefValue = "those that the programs use, else 5044"
	f.IntSliceVar(&o.pids, "pid", nil, "watch this process; repeats")
	f.StringArrayVar(&o.containers, "container", nil, "watch this container, by name or id; repeats")
	f.StringArrayVar(&o.netns, "netns", nil, "watch this network namespace, by path; repeats")
	f.StringArrayVar(&o.stats, "stats", nil, "endpoint of the counters, where it is not found; one for each place, in order")
	o.logs.add(f)
	o.config.add(f)
}

func (o *recordOptions) check() error {
	if err := errors.Join(o.limits.check(), o.capture.check()); err != nil {
		return err
	}
	if o.lasts < 0 {
		return usage("--for %s: want 0s or more", o.lasts)
	}
	if o.sockets != collect.Auto && o.sockets != collect.Diag && o.sockets != collect.Procfs {
		return usage("--sockets %q: want auto, diag or procfs", o.sockets)
	}
	return o.checkPlaces()
}

// checkPlaces checks what addPlaces adds.
func (o *recordOptions) checkPlaces() error {
	if err := timeline.CheckExperiment(o.experiment); err != nil {
		return usageError{err}
	}
	if err := o.checkNamed(); err != nil {
		return err
	}
	return o.logs.check()
}

// checkNamed checks --stats, --pid, --netns and --container.
func (o *recordOptions) checkNamed() error {
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
	switch {
	case slices.Contains(o.netns, ""):
		return usage("--netns is empty: want a path such as /run/netns/NAME")
	case slices.Contains(o.containers, ""):
		return usage("--container is empty: want a name or an id")
	}
	return nil
}

func runRecord(ctx context.Context, o recordOptions, stdout, stderr io.Writer) error {
	if o.account {
		if err := sweepFaults(stderr); err != nil {
			return err
		}
	}
	subjects, skipped, err := o.find(ctx)
	if err != nil {
		return err
	}
	o.introduce(subjects, skipped, stderr)
	if err := o.capture.require(subjects, o.ports.set()); err != nil {
		return err
	}
	logs, err := o.logs.plan(o.evidence, o.config.matcher)
	if err != nil {
		return err
	}
	show := newDisplay(stderr, o.quiet)
	ways, closeWays := o.openAround(subjects)
	defer closeWays()
	places := recordPlaces(subjects, ways)
	rec, err := collect.Open(o.evidence, recordHeader(o, places), show.observe)
	if err != nil {
		return err
	}
	rec.Limit(o.limits.limits)
	o.config.keep(rec)
	keepSettings(rec, subjects)
	sources := append(o.capture.begin(places), show)
	sources = append(sources, o.sources(subjects, ways, logs)...)
	sources = append(sources, logs.begin(rec)...)
	show.watch(o.lasts)
	if o.beside.args != nil {
		show.beside()
	}
	marks, socket := openMarks(rec, true, stderr)
	err = rec.Run(ctx, func(ctx context.Context) error {
		if o.beside.args == nil {
			return lastsFor(ctx, o.lasts)
		}
		out := stdout
		if o.json {
			out = stderr
		}
		return o.beside.run(ctx, rec, logs, socket, out, stderr)
	}, append(sources, marks...)...)
	if o.lasts == 0 && o.beside.args == nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = nil // Ctrl-C is how a recording without --for ends
	}
	return o.beside.passOn(announce(ctx, rec, err, o.json, stdout, stderr), stderr)
}

// introduce says what is watched, and what is not.
func (o *recordOptions) introduce(subjects []*subject, skipped []string, stderr io.Writer) {
	for _, why := range skipped {
		fmt.Fprintf(stderr, "halfopen: not watched: %s\n", why)
	}
	for _, spec := range o.logs.specs {
		warnLog(spec.path, stderr)
	}
	if o.quiet {
		return
	}
	for _, s := range subjects {
		fmt.Fprint(stderr, describeProgram(s.withLogs()))
	}
	fmt.Fprintf(stderr, "sockets are watched on ports %s, at either end\n", o.ports.String())
	fmt.Fprintln(stderr, "to watch something else: --pid, --container, --netns, --port, --stats, --log")
}

// sources read the subjects and the ways between them, until the recording ends.
func (o *recordOptions) sources(subjects []*subject, ways []around, logs logPlan) []collect.Source {
	owners, onset := collect.NewOwners(discover.Redact), collect.NewOnset()
	list := []collect.Source{collect.Clock{Every: time.Second}, owners, onset}
	all := collect.NewNamespaces(recordPlaces(subjects, nil))
	for _, s := range subjects {
		list = append(list, s.source(*o, all, owners, onset, logs))
	}
	for _, w := range ways {
		list = append(list, w.sources(w.place.Name, nil)...)
		list = append(list, o.capture.at(w.place.Name, nil, w.ns, o.ports.set())...)
	}
	return list
}

// lastsFor waits for d, or for Ctrl-C where d is 0.
func lastsFor(ctx context.Context, d time.Duration) error {
	if d > 0 {
		return wait(ctx, d)
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

func recordHeader(o recordOptions, places []timeline.Place) timeline.Header {
	return timeline.Header{
		Tool: "halfopen " + version, Experiment: o.experiment, Command: discover.Redact(os.Args), Ports: o.ports.set(), Places: places,
	}
}

func recordPlaces(subjects []*subject, ways []around) (places []timeline.Place) {
	for _, s := range subjects {
		places = append(places, s.place)
	}
	for _, w := range ways {
		places = append(places, w.place)
	}
	return places
}
