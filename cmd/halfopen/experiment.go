package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"halfopen/beatstats"
	"halfopen/collect"
	"halfopen/discover"
	"halfopen/fault"
	"halfopen/flow"
	"halfopen/lab"
	"halfopen/logtail"
	"halfopen/middlebox"
	"halfopen/netns"
	"halfopen/report"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// How often each source is read.
const (
	socketsEvery   = 100 * time.Millisecond
	conntrackEvery = 100 * time.Millisecond
	statsEvery     = time.Second
	canaryEvery    = time.Second
	dropsEvery     = time.Second
	kernelEvery    = 5 * time.Second
)

const (
	shipPort        = 5044
	shipperStats    = "127.0.0.1:5066"
	receiverStats   = "127.0.0.1:9600"
	queueEvents     = 4096
	receiverReadyIn = 60 * time.Second // a Logstash takes its time
	statsReadyIn    = 5 * time.Second
)

// experiment is one run of the lab.
type experiment struct {
	opts     labOptions
	bed      *lab.Bed
	dir      string // of the parties
	rec      *collect.Recorder
	fault    *fault.Fault
	receiver *lab.Party
	shipper  *lab.Party
	acked    atomic.Int64
	show     *display
}

// runLab runs the experiment and prints its verdict.
func runLab(ctx context.Context, o labOptions, stdout, stderr io.Writer) error {
	for _, s := range lab.Sweep() {
		fmt.Fprintf(stderr, "swept what a killed lab left behind: %s\n", report.Plain(s))
	}
	x := &experiment{opts: o, show: newDisplay(stderr, o.quiet)}
	err := x.record(ctx)
	if x.rec == nil {
		return err
	}
	return announce(ctx, x.rec, err, o.json, stdout, stderr)
}

// record builds the bed, runs the experiment in it and takes it down again.
func (x *experiment) record(ctx context.Context) (err error) {
	if x.bed, err = lab.NewBed(); err != nil {
		return err
	}
	defer x.bed.Close()
	if x.dir, err = lab.WorkDir(); err != nil {
		return err
	}
	defer os.RemoveAll(x.dir)
	if x.rec, err = collect.Open(x.opts.evidence, x.header(), x.observe); err != nil {
		return err
	}
	sources, done, err := x.sources()
	defer done()
	if err != nil {
		return err
	}
	defer x.stopParties()
	if err := x.startParties(ctx); err != nil {
		return err
	}
	err = x.rec.Run(ctx, x.script, append(sources, partyLife{x.receiver}, partyLife{x.shipper})...)
	return errors.Join(err, x.undo())
}

func (x *experiment) observe(r timeline.Record) {
	if s := r.Stats; s != nil && s.At == timeline.Shipper && s.Sample.Acked != nil {
		x.acked.Store(s.Sample.Acked.N)
	}
	x.show.observe(r)
}

func (x *experiment) header() timeline.Header {
	canary := lab.CanaryAddr
	return timeline.Header{
		Tool: "halfopen " + version, Experiment: x.opts.experiment, Command: discover.Redact(os.Args), Method: x.opts.method,
		Ports: flow.NewPorts(shipPort), Canary: &canary,
		Places: []timeline.Place{
			collect.Place(timeline.Shipper, timeline.Shipper, x.bed.Shipper),
			collect.Place(timeline.Router, timeline.Router, x.bed.Router),
			collect.Place(timeline.Receiver, timeline.Receiver, x.bed.Receiver),
		},
	}
}

// sources opens what the recorder reads. Done closes it again, also after an
// error.
func (x *experiment) sources() (sources []collect.Source, done func(), err error) {
	var closers []func()
	done = func() {
		for _, c := range closers {
			c()
		}
	}
	ports := flow.NewPorts(shipPort)
	table, err := middlebox.OpenConntrack(x.bed.Router, ports)
	if err != nil {
		return nil, done, err
	}
	closers = append(closers, func() { table.Close() })
	if x.fault, err = fault.Open(fault.Config{NS: x.bed.Router, Ports: ports, Conntrack: table}); err != nil {
		return nil, done, err
	}
	closers = append(closers, func() { x.fault.Close() })
	filebeat, err := beatstats.NewClient(x.bed.Shipper, shipperStats, 0)
	if err != nil {
		return nil, done, err
	}
	closers = append(closers, filebeat.Close)
	logstash, err := beatstats.NewClient(x.bed.Receiver, receiverStats, 0)
	if err != nil {
		return nil, done, err
	}
	closers = append(closers, logstash.Close)
	owners := collect.NewOwners(discover.Redact)
	to := netip.AddrPortFrom(lab.ReceiverAddr, shipPort)
	return []collect.Source{
		&collect.Sockets{At: timeline.Shipper, NS: x.bed.Shipper, Ports: ports, Every: socketsEvery, Canary: lab.CanaryAddr, Owners: owners},
		&collect.Sockets{At: timeline.Receiver, NS: x.bed.Receiver, Ports: ports, Every: socketsEvery, Owners: owners},
		owners,
		&collect.Destroyed{At: timeline.Shipper, NS: x.bed.Shipper, Ports: ports, Canary: lab.CanaryAddr},
		&collect.Destroyed{At: timeline.Receiver, NS: x.bed.Receiver, Ports: ports},
		&collect.Conntrack{At: timeline.Router, Table: table, Every: conntrackEvery, Canary: lab.CanaryAddr},
		&collect.Drops{At: timeline.Router, Fault: x.fault, Every: dropsEvery},
		&collect.Stats{At: timeline.Shipper, Name: "filebeat", Endpoint: shipperStats, Client: filebeat, Every: statsEvery, Paths: []string{"/", "/stats"}},
		&collect.Stats{At: timeline.Receiver, Name: "logstash", Endpoint: receiverStats, Client: logstash, Every: statsEvery, Paths: []string{"/_node/stats"}},
		&collect.Logs{Name: "filebeat", Path: filepath.Join(x.dir, "filebeat.log"), From: logtail.FromBeginning},
		&collect.Logs{Name: "logstash", Path: filepath.Join(x.dir, "logstash.log"), From: logtail.FromBeginning},
		&collect.Canary{NS: x.bed.Shipper, From: lab.CanaryAddr, To: to, Every: canaryEvery},
		&collect.Kernel{At: timeline.Shipper, NS: x.bed.Shipper, Every: kernelEvery},
		collect.Clock{Every: time.Second},
		generator{path: x.input(), rate: x.opts.rate},
		x.show,
	}, done, nil
}

func (x *experiment) input() string { return filepath.Join(x.dir, "input.log") }

// generator is the growing log; it is no reading, but it lives as long as they.
type generator struct {
	path string
	rate int
}

func (g generator) Run(ctx context.Context, _ *collect.Recorder) error {
	return lab.Generate(ctx, g.path, g.rate)
}

func (x *experiment) startParties(ctx context.Context) error {
	host, port, _ := strings.Cut(shipperStats, ":")
	statsPort, err := flow.ParsePort(port)
	if err != nil {
		return err
	}
	receiver := fmt.Sprintf("%s:%d", lab.ReceiverAddr, shipPort)
	yml := lab.FilebeatYML(lab.FilebeatSettings{
		Input: x.input(), Receiver: receiver, Timeout: x.opts.shipperTimeout, Pipelining: x.opts.pipelining,
		Queue: queueEvents, StatsHost: host, StatsPort: statsPort, Dir: filepath.Join(x.dir, "shipper"),
	})
	ymlPath := filepath.Join(x.dir, "filebeat.yml")
	if err := os.WriteFile(ymlPath, yml, 0o600); err != nil { // Filebeat refuses a file that others may write
		return fmt.Errorf("write filebeat.yml: %w", err)
	}
	if x.opts.filebeat != "" {
		x.show.print("filebeat.yml:\n" + string(yml))
	}
	if err := x.settings(yml); err != nil {
		return err
	}
	for _, dir := range []string{"shipper", "receiver"} {
		if err := os.Mkdir(filepath.Join(x.dir, dir), 0o700); err != nil {
			return fmt.Errorf("make work folder: %w", err)
		}
	}
	x.receiver, err = x.start("logstash", timeline.Receiver, x.opts.receiverCommand(), []string{
		lab.EnvListen + "=:" + strconv.Itoa(shipPort), lab.EnvStats + "=" + receiverStats,
		lab.EnvClientTimeout + "=" + x.opts.clientTimeout.String(),
	})
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeoutCause(ctx, receiverReadyIn, fmt.Errorf("it did not listen on port %d (%s in the kernel's spelling) within %s", shipPort, flow.Hex(shipPort), receiverReadyIn))
	defer cancel()
	if err := x.receiver.Await(ready, func() bool { return listens(x.bed.Receiver, shipPort) }); err != nil {
		return err
	}
	x.shipper, err = x.start("filebeat", timeline.Shipper, x.opts.shipperCommand(ymlPath), []string{
		lab.EnvInput + "=" + x.input(), lab.EnvReceiver + "=" + receiver, lab.EnvStats + "=" + shipperStats,
		lab.EnvTimeout + "=" + x.opts.shipperTimeout.String(), lab.EnvPipelining + "=" + strconv.Itoa(x.opts.pipelining),
		lab.EnvQueue + "=" + strconv.Itoa(queueEvents), lab.EnvStatsShape + "=" + x.opts.statsShape, lab.EnvFilebeatYML + "=" + ymlPath,
	})
	if err != nil {
		return err
	}
	// The first raw evidence should have the shipper's counters; one that serves
	// none, or ends at once, is recorded all the same.
	soon, cancel := context.WithTimeout(ctx, statsReadyIn)
	defer cancel()
	_ = x.shipper.Await(soon, func() bool { return listens(x.bed.Shipper, statsPort) })
	return ctx.Err()
}

// settings keeps filebeat.yml with the evidence and records what the lint says.
func (x *experiment) settings(yml []byte) error {
	if err := x.rec.Save("filebeat.yml", "settings of the shipper", yml); err != nil {
		return err
	}
	parsed, err := beatstats.ParseSettings(strings.NewReader(string(yml)))
	if err != nil {
		return err
	}
	timeout := x.opts.shipperTimeout
	x.rec.Append(0, timeline.Body{Settings: &timeline.Settings{
		Name: "filebeat", File: x.rec.Name("filebeat.yml"), Timeout: &timeout, Findings: beatstats.Lint(parsed),
	}})
	return nil
}

func (x *experiment) start(name, role string, args, env []string) (*lab.Party, error) {
	ns := x.bed.Shipper
	if role == timeline.Receiver {
		ns = x.bed.Receiver
	}
	p := &lab.Party{Name: name, Role: role, Args: args, Log: filepath.Join(x.dir, name+".log")}
	if err := lab.StartParty(ns, p, append(env, lab.EnvDir+"="+filepath.Join(x.dir, role))); err != nil {
		return nil, err
	}
	x.rec.Append(0, timeline.Body{Party: &timeline.Party{Name: name, At: role, Change: timeline.Started, PID: p.PID, Command: args, ByUs: true}})
	return p, nil
}

// listens looks for a listener in a namespace.
func listens(ns *netns.NS, port uint16) bool {
	socks, _, err := sockstate.ReadProc(ns.ProcRoot(), flow.NewPorts(port))
	return err == nil && slices.ContainsFunc(socks, func(s sockstate.Socket) bool { return s.State == sockstate.Listen })
}

func (x *experiment) stopParties() {
	for _, p := range []*lab.Party{x.shipper, x.receiver} {
		if p != nil {
			p.Stop()
		}
	}
	lab.EndChildren()
}

func (o labOptions) receiverCommand() []string {
	if o.receiverCmd != "" {
		return []string{"/bin/sh", "-c", o.receiverCmd}
	}
	return []string{"/proc/self/exe", "lab-receiver"}
}

func (o labOptions) shipperCommand(yml string) []string {
	switch {
	case o.shipperCmd != "":
		return []string{"/bin/sh", "-c", o.shipperCmd}
	case o.filebeat != "":
		return []string{o.filebeat, "-e", "--strict.perms=false", "-c", yml}
	}
	return []string{"/proc/self/exe", "lab-shipper"}
}
