package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"halfopen/fault"
	"halfopen/flow"
	"halfopen/timeline"
)

// dropOptions is the command line of halfopen drop.
type dropOptions struct {
	evidence, experiment string
	place                placeFlags
	method               string
	ports                portFlag
	flow                 flowFlag
	hook, ways           string
	iface                string
	loss                 lossFlag
	idle                 time.Duration
	cutFor               time.Duration
	hold                 time.Duration
	dryRun, undo, anyway bool
	quiet                bool
}

func newDrop() *cobra.Command {
	var o dropOptions
	cmd := &cobra.Command{
		Use:   "drop",
		Short: "Break the path of a connection for a time, and undo it for sure",
		Long:  dropHelp(),
		Example: `  sudo halfopen drop --port 5044 --dry-run             # what would be done, for nft
  sudo halfopen drop --port 5044                       # cut 20s, then forget the flows
  sudo halfopen drop --method b --container filebeat --port 5044
  sudo halfopen drop --method a --port 5044 --loss 5% --for 5m
  sudo halfopen drop --method b --flow 10.0.0.2:40312-10.0.0.9:5044 --interface eth0
  sudo halfopen drop --undo                            # what a killed one has left`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.undo {
				return undoDrops(cmd.OutOrStdout())
			}
			m, err := o.check(cmd.Flags().Changed("hold"))
			if err != nil {
				return err
			}
			o.ports.hint(cmd.ErrOrStderr())
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return runDrop(ctx, o, m, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.add(cmd.Flags())
	return cmd
}

func dropHelp() string {
	return `drop breaks the path of long-lived connections on purpose: on this host, or in the network
namespace of a container or process. It ends by itself (--for, then --hold), at Ctrl-C at
once, and with its process: the rules stand in an nf_tables table that the kernel removes
with it, kill -9 included. No rule of anybody else's is changed or flushed.

Methods:

` + methodHelp(fault.Methods()) + `
After --for a method goes on for --hold, for the connections of before alone, while new ones
pass: that is what a half-open connection looks like from outside.

Methods d and f-ack0 begin with a step of their own: new connections to the port are
redirected to a proxy of this process, which passes everything on. Connections of before go
on as they are: restart the shipper, or wait until it connects anew. Once a connection has
carried data both ways (within 5m) it is broken. In the end those of the proxy are reset, and
shippers connect anew. With TLS no ACK can be told: f-ack0 is silent then. A port that this
host translates in prerouting (DNAT, firewalld's forward-port) can't be passed on: the proxy's
own connections do not go through there.

Hooks, and who hears of a drop:

  forward    what this host or namespace forwards, that of containers among it: beside
             Docker's DOCKER-USER, and before it. The ends notice nothing.
  output     what local programs send. Their kernel is told of each drop, so their sockets
             look otherwise than after a loss on the way. Containers do not pass here.
  local      output, and what local programs receive.
  interface  what goes in and out of --interface. The ends notice nothing.

The rules come first in their hook (priority raw; in output next to connection tracking), so
they work beside iptables of both kinds, firewalld and Docker, and survive their reloads.
Ports and addresses are as the hook sees them: after destination NAT.

A drop window is written to --evidence: when the path was cut, from when to when packets were
really dropped, how many, which conntrack entries were deleted. Recorders that run on this
host are told by a mark.

It needs CAP_NET_ADMIN, and Linux 5.12 (on an interface 5.16). Exit codes: 0 done, 1 error,
2 usage or refused, 4 done, but not one packet was met.`
}

func (o *dropOptions) add(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringVar(&o.method, "method", fault.Transient.Name, "how the path is broken")
	f.Var(&o.ports, "port", "port of the connections; repeats")
	f.Lookup("port").DefValue = ""
	f.Var(&o.flow, "flow", "only this connection: CLIENT:PORT-SERVER:PORT")
	o.place.add(f)
	f.StringVar(&o.hook, "hook", "", "where: forward, output, local or interface; by default where the method belongs and the connections are")
	f.StringVar(&o.ways, "direction", "", "out (to the port), in (from it) or both; by default the method's own")
	f.StringVar(&o.iface, "interface", "", "interface of method b; by default the one that the connections use")
	f.Var(&o.loss, "loss", "share of the packets that is lost")
	f.DurationVar(&o.idle, "idle", 5*time.Second, "method e: forget what carries nothing for so long")
	f.DurationVar(&o.cutFor, "for", 20*time.Second, "how long everything on the port is met")
	f.DurationVar(&o.hold, "hold", 0, "how long the connections of before are met after that; by default 10m where they are forgotten or pass through a proxy")
	f.BoolVar(&o.dryRun, "dry-run", false, "print what would be done, as nft commands, and do nothing")
	f.BoolVar(&o.undo, "undo", false, "undo what killed drops have left")
	f.BoolVar(&o.anyway, "yes-i-mean-it", false, "also where it cuts everything, or the session it is run from")
	f.StringVar(&o.evidence, "evidence", defaultEvidence, "folder for the drop window; a recorder there is told")
	f.StringVar(&o.experiment, "experiment", "halfopen-nat", "first part of the file's name")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
}

func methodHelp(methods []fault.Method) string {
	var b strings.Builder
	for _, m := range methods {
		fmt.Fprintf(&b, "  %-13s %s (%s)\n", m.Name, m.What, m.Hook)
	}
	return b.String()
}

// forgetHold is how long forgotten or proxied connections stay so, unless it is
// said.
const forgetHold = 10 * time.Minute

func (o *dropOptions) check(holdGiven bool) (fault.Method, error) {
	m, err := fault.MethodNamed(o.method)
	if err != nil {
		return m, usage("--method: %w", err)
	}
	if err := timeline.CheckExperiment(o.experiment); err != nil {
		return m, usageError{err}
	}
	if m.Proxied() {
		if err := o.checkProxy(m); err != nil {
			return m, err
		}
	}
	if (m.Forgets() || m.Proxied()) && !holdGiven {
		o.hold = forgetHold
	}
	if err := checkWays(o.ways); err != nil {
		return m, err
	}
	switch {
	case o.cutFor < time.Second || o.cutFor > 24*time.Hour:
		return m, usage("--for %s: want 1s to 24h", o.cutFor)
	case o.hold < 0 || o.hold > 24*time.Hour:
		return m, usage("--hold %s: want 0s to 24h", o.hold)
	case o.hook != "" && !knownHook(o.hook):
		return m, usage("--hook %q: want one of %v", o.hook, fault.Hooks())
	case len(o.ports.asked()) > 0 && o.flow.given:
		return m, usage("--port and --flow both say which packets: give one")
	case m.Name == fault.Idle.Name && o.idle%time.Second != 0, o.idle < time.Second:
		return m, usage("--idle %s: want whole seconds, at least one", o.idle)
	case o.loss != 0 && m.Name == fault.ZeroWindow.Name:
		return m, usage("--loss: method %s loses no packets", m.Name)
	case o.everything() && m.Forgets():
		return m, usage("method %s forgets connections by their port: name it with --port, or the connection with --flow", m.Name)
	case o.everything() && o.hold > 0:
		return m, usage("--hold is for the connections of before: name them with --port or --flow")
	}
	return m, nil
}

func checkWays(ways string) error {
	switch fault.Ways(ways) {
	case "", fault.Out, fault.In, fault.Both:
		return nil
	}
	return usage("--direction %q: want out, in or both", ways)
}

func (o *dropOptions) everything() bool { return len(o.ports.asked()) == 0 && !o.flow.given }

func knownHook(name string) bool {
	for _, h := range fault.Hooks() {
		if string(h) == name {
			return true
		}
	}
	return false
}

// flowFlag is --flow.
type flowFlag struct {
	flow  flow.Flow
	given bool
}

func (f *flowFlag) Set(s string) error {
	client, server, ok := strings.Cut(s, "-")
	var ends [2]netip.AddrPort
	for i, text := range []string{client, server} {
		var err error
		if ends[i], err = netip.ParseAddrPort(strings.TrimSpace(text)); err != nil || !ok || ends[i].Port() == 0 {
			return fmt.Errorf("want CLIENT:PORT-SERVER:PORT, such as 10.0.0.2:40312-10.0.0.9:5044")
		}
	}
	for i, e := range ends { // a packet carries no zone
		ends[i] = netip.AddrPortFrom(e.Addr().WithZone(""), e.Port())
	}
	f.flow, f.given = flow.New(ends[0], ends[1]), true
	if f.flow.Local.Addr().Is4() != f.flow.Remote.Addr().Is4() {
		return fmt.Errorf("%s and %s are of different families", f.flow.Local.Addr(), f.flow.Remote.Addr())
	}
	return nil
}

func (f *flowFlag) Type() string { return "flow" }

func (f *flowFlag) String() string {
	if !f.given {
		return ""
	}
	return f.flow.Local.String() + "-" + f.flow.Remote.String()
}

// lossFlag is --loss, as a share; 0 is not given.
type lossFlag float64

func (l *lossFlag) Set(s string) error {
	digits, percent := strings.CutSuffix(strings.TrimSpace(s), "%")
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !percent || !(n >= 0.01 && n <= 100) { // NaN is neither
		return fmt.Errorf("want 0.01%% to 100%%")
	}
	*l = lossFlag(n / 100)
	return nil
}

func (l *lossFlag) Type() string { return "percent" }

func (l *lossFlag) String() string {
	if *l == 0 {
		return "100%"
	}
	return strconv.FormatFloat(float64(*l)*100, 'f', -1, 64) + "%"
}
