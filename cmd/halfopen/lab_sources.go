package main

import (
	"path/filepath"
	"time"

	"halfopen/beatstats"
	"halfopen/collect"
	"halfopen/discover"
	"halfopen/fault"
	"halfopen/lab"
	"halfopen/logtail"
	"halfopen/middlebox"
	"halfopen/timeline"
)

// every is how often something is read.
func (x *experiment) every(d time.Duration) time.Duration {
	if x.opts.calm {
		return min(10*d, time.Second)
	}
	return d
}

// unlessCalm: who holds a socket is looked for in all processes whenever one
// appears, and the canary has a new one each second.
func (x *experiment) unlessCalm(o *collect.Owners) *collect.Owners {
	if x.opts.calm {
		return nil
	}
	return o
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
	ports := x.ports()
	if x.table, err = middlebox.OpenConntrack(x.bed.Router, ports); err != nil {
		return nil, done, err
	}
	closers = append(closers, func() { x.table.Close() })
	if x.method.rules != nil {
		if x.fault, err = fault.Open(x.faultConfig()); err != nil {
			return nil, done, err
		}
		closers = append(closers, func() { x.fault.Close() })
	}
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
	logs := logPlan{from: logtail.FromBeginning, set: &collect.LogSet{Matcher: x.opts.config.matcher}}
	owners, onset := collect.NewOwners(discover.Redact), collect.NewOnset()
	sources = []collect.Source{
		&collect.Sockets{At: timeline.Shipper, NS: x.bed.Shipper, Ports: ports, Every: x.every(socketsEvery), Canary: lab.CanaryAddr, Owners: owners, Onset: onset},
		&collect.Sockets{At: timeline.Receiver, NS: x.bed.Receiver, Ports: ports, Every: x.every(socketsEvery), Owners: x.unlessCalm(owners)},
		owners,
		onset,
		&collect.Destroyed{At: timeline.Shipper, NS: x.bed.Shipper, Ports: ports, Canary: lab.CanaryAddr},
		&collect.Destroyed{At: timeline.Receiver, NS: x.bed.Receiver, Ports: ports},
		&collect.Conntrack{At: timeline.Router, Table: x.table, Every: x.every(conntrackEvery), Canary: lab.CanaryAddr},
		&collect.Tracking{At: timeline.Router, Table: x.table, Canary: lab.CanaryAddr},
		&collect.Rules{At: timeline.Router, NS: x.bed.Router, Ports: ports, Every: x.every(rulesEvery)},
		&collect.Links{At: timeline.Router, NS: x.bed.Router, Ports: ports, Every: linksEvery, Table: x.table},
		&collect.Links{At: timeline.Shipper, NS: x.bed.Shipper, Ports: ports, Every: linksEvery},
		&collect.Stats{At: timeline.Shipper, Name: "filebeat", Client: filebeat, Every: statsEvery, Paths: []string{"/", "/stats"}, Onset: onset},
		&collect.Stats{At: timeline.Receiver, Name: "logstash", Client: logstash, Every: statsEvery, Paths: []string{"/_node/stats"}, Onset: onset},
		logs.log("filebeat", filepath.Join(x.dir, "filebeat.log"), ""),
		logs.log("logstash", filepath.Join(x.dir, "logstash.log"), ""),
		&collect.Canary{NS: x.bed.Shipper, From: lab.CanaryAddr, To: x.target(), Every: canaryEvery},
		&collect.Kernel{At: timeline.Shipper, NS: x.bed.Shipper, Every: kernelEvery},
		collect.Clock{Every: time.Second},
		growth{x.lines},
		x.show,
	}
	if x.fault != nil {
		sources = append(sources, &collect.Drops{At: x.method.place(), Fault: x.fault, Every: x.every(dropsEvery)})
	}
	if x.method.proxied {
		sources = append(sources,
			&collect.Sockets{At: timeline.Router, NS: x.bed.Router, Ports: ports, Every: x.every(socketsEvery), Canary: lab.CanaryAddr},
			logs.log("proxy", filepath.Join(x.dir, "proxy.log"), ""))
	}
	captures, closeCaptures, err := x.captures()
	closers = append(closers, closeCaptures)
	if err != nil {
		return nil, done, err
	}
	sources = append(sources, captures...)
	logs.from = logtail.FromNow // the kernel's past is not the experiment's
	return append(sources, logs.begin(x.rec)...), done, nil
}

// faultConfig is the method's fault, in the bed.
func (x *experiment) faultConfig() fault.Config {
	cfg := fault.Config{
		NS: x.place(x.method.place()), Method: *x.method.rules, Hook: x.method.hook, Ways: fault.Ways(x.opts.ways), Ports: x.ports(),
		Interface: x.method.iface, Loss: float64(x.opts.loss),
	}
	if x.method.rules.Forgets() {
		cfg.Conntrack = x.table
	}
	if x.method.rules.Name == fault.Idle.Name {
		cfg.Idle = x.opts.idle
	}
	return cfg
}
