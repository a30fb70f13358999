package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	dropsEvery     = 100 * time.Millisecond // how well the first and the last packet are known
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
	opts   labOptions
	method labMethod
	bed    *lab.Bed
	dir    string // of the parties
	rec    *collect.Recorder
	table  *middlebox.Conntrack // of the router
	fault  *fault.Fault         // nil: nothing is done to the path
	lines  *lab.Generator

	shipper, receiver *lab.Party
	proxy             *lab.Party // nil: there is none
	lives             partyLives
	valve             *lab.Valve // in the receiver's output; nil: none
	blocked           bool       // the valve is shut

	acked     atomic.Int64
	readAcked bool        // it was, before; observe alone asks
	moved     atomic.Bool // acked grew between two readings, as a judge asks of the time before a cut
	show      *display
}

// runLab runs the experiment and prints its verdict.
func runLab(ctx context.Context, o labOptions, stdout, stderr io.Writer) error {
	for _, s := range lab.Sweep() {
		fmt.Fprintf(stderr, "swept what a killed lab left behind: %s\n", report.Plain(s))
	}
	if err := sweepFaults(stderr); err != nil {
		fmt.Fprintf(stderr, "halfopen: %v\n", err)
	}
	method, err := labMethodNamed(o.method)
	if err != nil {
		return err
	}
	x := &experiment{opts: o, method: method, lives: make(partyLives, 8), show: newDisplay(stderr, o.quiet)}
	err = x.record(ctx)
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
	if err := x.sysctls(); err != nil {
		return err
	}
	if x.dir, err = lab.WorkDir(); err != nil {
		return err
	}
	defer os.RemoveAll(x.dir)
	x.lines = &lab.Generator{Path: filepath.Join(x.dir, "input.log"), Rate: x.opts.rate}
	if x.method.name == "f-ack0" {
		x.valve = &lab.Valve{}
	}
	if x.rec, err = collect.Open(x.opts.evidence, x.header(), x.observe); err != nil {
		return err
	}
	x.opts.config.keep(x.rec)
	sources, done, err := x.sources()
	defer done()
	if err != nil {
		return err
	}
	defer x.stopParties()
	if err := x.startParties(ctx); err != nil {
		return err
	}
	marks, _ := openMarks(x.rec, false, x.show.out)
	sources = slices.Concat(sources, marks, []collect.Source{x.lives})
	err = errors.Join(x.rec.Run(ctx, x.script, sources...), x.undo())
	x.stopParties() // the receiver's output is whole then
	x.delivered()
	return err
}

// sysctls sets those of the bed.
func (x *experiment) sysctls() error {
	if x.opts.retries2 > 0 {
		if err := x.bed.Shipper.SetSysctl("net.ipv4.tcp_retries2", strconv.Itoa(x.opts.retries2)); err != nil {
			return err
		}
	}
	if x.method.name == fault.Idle.Name { // from the beginning: an entry takes it with a packet, and none may follow the cut
		return x.bed.Router.SetSysctl("net.netfilter.nf_conntrack_tcp_timeout_established", strconv.Itoa(int(x.opts.idle.Seconds())))
	}
	return nil
}

// delivered keeps what came of the generated lines with the evidence.
func (x *experiment) delivered() {
	d, err := lab.Delivered(x.receiver.Log, x.lines.Lines())
	if err != nil {
		x.rec.Fail("delivery", 0, err)
		return
	}
	if d.Once == 0 && x.opts.receiverCmd != "" {
		return // it prints no lines, or they can't be told
	}
	text, err := report.JSON(d)
	if err != nil {
		x.rec.Fail("delivery", 0, err)
		return
	}
	x.rec.Save("delivery.json", "lines that arrived, twice or not at all", text)
	x.show.print(fmt.Sprintf("of %d lines %d arrived, %d of them more than once; %d are missing between others, %d wait", d.Written, d.Once, d.Doubled, d.Lost, d.Waiting))
}

func (x *experiment) observe(r timeline.Record) {
	if s := r.Stats; s != nil && s.At == timeline.Shipper && s.Sample.Acked != nil {
		if n := s.Sample.Acked.N; n > x.acked.Swap(n) && x.readAcked {
			x.moved.Store(true)
		}
		x.readAcked = true
	}
	x.show.observe(r)
}

func (x *experiment) header() timeline.Header {
	canary, method := lab.CanaryAddr, x.method.name
	if x.method.rules == nil && x.method.act != nil {
		method = "" // nothing is done to the path
	}
	return timeline.Header{
		Tool: "halfopen " + version, Experiment: x.opts.experiment, Command: discover.Redact(os.Args), Method: method,
		Ports: x.ports(), Canary: &canary,
		Places: []timeline.Place{
			collect.Place(timeline.Shipper, timeline.Shipper, x.bed.Shipper),
			collect.Place(timeline.Router, timeline.Router, x.bed.Router),
			collect.Place(timeline.Receiver, timeline.Receiver, x.bed.Receiver),
		},
	}
}

// place is a namespace of the bed.
func (x *experiment) place(role string) *netns.NS {
	switch role {
	case timeline.Shipper:
		return x.bed.Shipper
	case timeline.Receiver:
		return x.bed.Receiver
	}
	return x.bed.Router
}

func (x *experiment) ports() flow.Ports { return x.opts.ports.set() }

// growth is the generated log; it is no reading, but it lives as long as they.
type growth struct{ *lab.Generator }

func (g growth) Run(ctx context.Context, _ *collect.Recorder) error { return g.Generator.Run(ctx) }

// settings keeps filebeat.yml with the evidence and records what the lint says.
func (x *experiment) settings(yml []byte) error {
	x.rec.Save("filebeat.yml", "settings of the shipper", yml)
	parsed, err := beatstats.ParseSettings(strings.NewReader(string(yml)))
	if err != nil {
		return err
	}
	timeout := x.opts.shipperTimeout
	x.rec.Append(0, timeline.Body{Settings: &timeline.Settings{
		Name: "filebeat", File: x.rec.Name("filebeat.yml"), Timeout: &timeout, Findings: beatstats.LintContext(parsed, x.lintEnvironment()),
	}})
	return nil
}

// lintEnvironment is what decides together with the shipper's settings: all of it
// is known here.
func (x *experiment) lintEnvironment() beatstats.Environment {
	var sys *sockstate.Sysctls
	if s, err := sockstate.ReadSysctls(x.bed.Shipper); err == nil {
		sys = &s
	}
	env := lintEnvironment("the shipper's namespace", sys)
	rate := float64(x.opts.rate)
	env.EventsPerSecond, env.ClientInactivityTimeout, env.InactivityFrom = &rate, &x.opts.clientTimeout, "--client-timeout"
	return env
}
