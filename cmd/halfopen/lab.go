package main

import (
	"os/exec"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"halfopen/lab"
	"halfopen/timeline"
)

// labOptions is the command line of halfopen lab.
type labOptions struct {
	evidence, experiment string
	method               string
	ports                portFlag
	ways                 string
	loss                 lossFlag
	idle                 time.Duration
	keepalive            bool
	retries2             int  // 0: as it is
	calm                 bool // everything is read more rarely
	matrix               bool
	rate                 int
	warmUp               time.Duration
	dropFor, watchFor    time.Duration
	shipperTimeout       time.Duration
	clientTimeout        time.Duration
	pipelining           int
	statsShape           string
	filebeat             string
	shipperCmd           string
	receiverCmd          string
	config               configFlag
	capture              captureFlags
	quiet, json          bool
}

func newLab() *cobra.Command {
	var o labOptions
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Reproduce the half-open stall on this kernel, record it and judge it",
		Long:  labHelp(),
		Example: `  sudo halfopen lab                          # the half-open stall, about a minute
  sudo halfopen lab --shipper-timeout 30s    # Filebeat's own default: it recovers
  sudo halfopen lab --method none            # a healthy connection, for comparison
  sudo halfopen lab --method d               # behind a proxy that goes on acknowledging
  sudo halfopen lab --filebeat /usr/share/filebeat/bin/filebeat
  sudo halfopen lab --method f-rst --capture # who sent the reset?
  sudo halfopen lab --matrix                 # every method and setting, in three minutes
  sudo halfopen lab --json --quiet | jq .verdict`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.config.apply(cmd); err != nil {
				return err
			}
			if err := o.check(); err != nil {
				return err
			}
			if !lab.MayMakeNamespaces() {
				code, err := lab.InUserNamespace()
				if err != nil {
					return err
				}
				return codeError(code)
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			if o.matrix {
				return runMatrix(ctx, o, cmd.Flags().Changed, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return runLab(ctx, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func labHelp() string {
	return `lab builds a test bed of three network namespaces, shipper, router and receiver, lets a
log shipper send a growing log through the router's NAT, cuts the path for a while, makes
the router forget the connection, and watches whether the shipper ever notices. All of it
is recorded; the verdict comes from the recording alone.

It needs root, or a kernel that lets ordinary users make user namespaces, and nothing
else: no ip, nft, conntrack or docker. When it ends, also by Ctrl-C, nothing of it is left
on the host but the evidence. After kill -9 the namespaces, the rules and the programs are
gone too; its folder in $TMPDIR, and what a shell command had started, the next lab removes.

Methods, what --method does to the path or to the receiver:

` + labMethodHelp() + `
A program of your own (a Filebeat 7.x or 8.x, say) takes the part of the shipper (--filebeat, --shipper-cmd) or of the
receiver (--receiver-cmd). It runs inside its namespace and learns its part from these
environment variables:

  ` + lab.EnvRole + `            shipper or receiver
  ` + lab.EnvDir + `             a folder of its own, removed afterwards
  ` + lab.EnvInput + `           the growing log file
  ` + lab.EnvReceiver + `        where to ship to, 10.51.0.2:5044
  ` + lab.EnvListen + `          where the receiver listens, :5044
  ` + lab.EnvStats + `           where to serve the counters: 127.0.0.1:5066, 127.0.0.1:9600
  ` + lab.EnvTimeout + `         --shipper-timeout
  ` + lab.EnvPipelining + `      --pipelining
  ` + lab.EnvQueue + `           events that the shipper's queue holds, 4096
  ` + lab.EnvStatsShape + `     --stats-shape
  ` + lab.EnvClientTimeout + `  --client-timeout
  ` + lab.EnvFilebeatYML + `    the same settings as a filebeat.yml
  ` + lab.EnvKeepalive + `       --keepalive: on or off

` + captureHelp + `

Exit codes: 0 recovered or not stalled, 1 error, 2 usage, 3 reproduced, 4 inconclusive.`
}

func (o *labOptions) add(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&o.evidence, "evidence", defaultEvidence, "folder for the recording")
	f.StringVar(&o.experiment, "experiment", "halfopen-nat", "first part of the names of all files")
	f.StringVar(&o.method, "method", timeline.MethodTransient, "what is done to the path, or to the receiver: see above")
	f.Var(&o.ports, "port", "port that the receiver listens on")
	f.StringVar(&o.ways, "direction", "", "what the cut meets: out (to the port), in (from it) or both; by default the method's own")
	f.Var(&o.loss, "loss", "share of the packets that the cut meets")
	f.DurationVar(&o.idle, "idle", 5*time.Second, "method e: the router forgets what carries nothing for so long")
	f.DurationVar(&o.warmUp, "warm-up", 5*time.Second, "how long deliveries are watched before the cut")
	f.DurationVar(&o.dropFor, "drop-for", 10*time.Second, "how long the path is cut")
	f.DurationVar(&o.watchFor, "watch-for", 45*time.Second, "how long the connection is watched afterwards")
	f.IntVar(&o.rate, "rate", 10, "lines a second that the log grows by")
	f.DurationVar(&o.shipperTimeout, "shipper-timeout", 24*time.Hour, "output.logstash.timeout; Filebeat's own default is 30s")
	f.BoolVar(&o.keepalive, "keepalive", true, "TCP keepalive of the embedded shipper, 15 s as in Filebeat")
	f.IntVar(&o.retries2, "tcp-retries2", 0, "tcp_retries2 of the shipper's namespace, which decides when its kernel gives up; 0: as it is")
	f.IntVar(&o.pipelining, "pipelining", 2, "output.logstash.pipelining: batches in flight")
	f.StringVar(&o.statsShape, "stats-shape", "7.17", "keys of the embedded shipper's stats: 7.17 or 8.15")
	f.DurationVar(&o.clientTimeout, "client-timeout", 60*time.Second, "the receiver closes a client that is silent for so long")
	f.StringVar(&o.filebeat, "filebeat", "", "run this Filebeat as the shipper, with a generated filebeat.yml")
	f.StringVar(&o.shipperCmd, "shipper-cmd", "", "run this shell command as the shipper")
	f.StringVar(&o.receiverCmd, "receiver-cmd", "", "run this shell command as the receiver")
	o.config.add(f)
	o.capture.add(f)
	f.BoolVar(&o.matrix, "matrix", false, "run every method against shippers with other timeouts and keepalive, side by side, and print a table; --method and --shipper-timeout narrow it")
	f.BoolVar(&o.calm, "calm", false, "read everything more rarely")
	f.Lookup("calm").Hidden = true
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
	f.BoolVar(&o.json, "json", false, "print the verdict as JSON")
}

func runnable(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func (o labOptions) check() error {
	if err := timeline.CheckExperiment(o.experiment); err != nil {
		return usageError{err}
	}
	if _, err := labMethodNamed(o.method); err != nil {
		return usageError{err}
	}
	if err := checkWays(o.ways); err != nil {
		return err
	}
	if err := o.capture.check(); err != nil {
		return err
	}
	switch {
	case len(o.ports.set()) != 1:
		return usage("--port is given %d times: the receiver listens on one", len(o.ports.set()))
	case o.retries2 < 0 || o.retries2 > 255:
		return usage("--tcp-retries2 %d: want 0 to 255", o.retries2)
	case o.idle < time.Second || o.idle%time.Second != 0:
		return usage("--idle %s: want whole seconds, at least one", o.idle)
	case o.rate < 1 || o.rate > 100_000:
		return usage("--rate %d: want 1 to 100000 lines a second", o.rate)
	case o.pipelining < 1 || o.pipelining > 64:
		return usage("--pipelining %d: want 1 to 64 batches", o.pipelining)
	case o.statsShape != "7.17" && o.statsShape != "8.15":
		return usage("--stats-shape %q: want 7.17 or 8.15", o.statsShape)
	case o.filebeat != "" && o.shipperCmd != "":
		return usage("--filebeat and --shipper-cmd both name the shipper: give one")
	case o.filebeat != "" && !runnable(o.filebeat):
		return usage("--filebeat %q: want a program that can be run, such as /usr/share/filebeat/bin/filebeat", o.filebeat)
	case o.matrix && (o.shipperCmd != "" || o.receiverCmd != ""):
		return usage("--matrix sets what the embedded parties or a --filebeat are told: --shipper-cmd and --receiver-cmd don't go with it")
	case o.shipperTimeout < 0 || o.shipperTimeout > 365*24*time.Hour:
		return usage("--shipper-timeout %s: want 0s to 8760h (a year)", o.shipperTimeout)
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{{"warm-up", o.warmUp}, {"drop-for", o.dropFor}, {"watch-for", o.watchFor}, {"client-timeout", o.clientTimeout}} {
		if d.d < time.Second || d.d > 24*time.Hour {
			return usage("--%s %s: want 1s to 24h", d.name, d.d)
		}
	}
	return nil
}

func (o labOptions) port() uint16 { return o.ports.set()[0] }
