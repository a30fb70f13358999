package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"halfopen/beatstats"
	"halfopen/discover"
	"halfopen/netns"
	"halfopen/sockstate"
	"halfopen/timeline"
	"halfopen/verdict"
)

// namedPipeline is a Logstash configuration with its file.
type namedPipeline struct {
	file string
	beatstats.PipelineConfig
}

// pipelinesOf are those of the Logstashes among some programs.
func pipelinesOf(programs []discover.Program) (list []namedPipeline) {
	for _, p := range programs {
		for _, q := range p.Pipelines {
			list = append(list, namedPipeline{q.File, q.Config})
		}
	}
	return list
}

// facing is env with the receiver that a shipper sends to.
func facing(env beatstats.Environment, s beatstats.Settings, pipelines []namedPipeline) beatstats.Environment {
	for _, p := range pipelines {
		if in, ok := p.For(s); ok {
			t := in.Timeout()
			if env.ClientInactivityTimeout == nil || t > 0 && t < *env.ClientInactivityTimeout {
				env.ClientInactivityTimeout, env.InactivityFrom = &t, fmt.Sprintf("%s:%d", p.file, in.Line)
			}
		}
	}
	return env
}

// environment is what the options tell of where the shipper runs.
func (o lintOptions) environment(ctx context.Context, r *linted, warn io.Writer) (env beatstats.Environment, err error) {
	v, err := o.where.open(ctx, warn)
	if err != nil {
		return env, err
	}
	defer v.close()
	if v.entered() {
		if s, err := sockstate.ReadSysctls(v.ns); err == nil {
			r.Namespace, r.Sysctls = v.name, &s
		}
	}
	env = lintEnvironment(r.Namespace, r.Sysctls)
	env.Version = o.version
	if o.rate > 0 {
		env.EventsPerSecond = &o.rate
	}
	if o.recording == "" {
		return env, nil
	}
	path, err := timeline.Find(o.recording)
	if err != nil {
		return env, err
	}
	rec, err := timeline.Load(path)
	if err != nil {
		return env, err
	}
	rate, ok := verdict.PublishedPerSecond(rec)
	if !ok {
		return env, fmt.Errorf("take the rate from %q: it has no two readings of the events that its shipper took in: give --rate", o.recording)
	}
	env.EventsPerSecond = &rate
	return env, nil
}

// lintEnvironment is what the lint takes of a namespace's settings.
func lintEnvironment(namespace string, s *sockstate.Sysctls) beatstats.Environment {
	if s == nil {
		return beatstats.Environment{}
	}
	return beatstats.Environment{
		Namespace: namespace, TCPRetries2: s.Retries2,
		KeepaliveTime: s.KeepaliveTime, KeepaliveInterval: s.KeepaliveInterval, KeepaliveProbes: s.KeepaliveProbes,
	}
}

// environmentOf is what is known of where a program runs.
func environmentOf(p discover.Program) beatstats.Environment {
	ns, err := netns.Open(fmt.Sprintf("/proc/%d/ns/net", p.PID))
	if err != nil {
		return beatstats.Environment{}
	}
	defer ns.Close()
	s, err := sockstate.ReadSysctls(ns)
	if err != nil {
		return beatstats.Environment{}
	}
	return lintEnvironment(fmt.Sprintf("the network namespace of process %d", p.PID), &s)
}

// addRunning judges the Filebeats of this host, each with its own namespace unless
// one was named, and warns of those whose settings can't be read.
func (r *linted) addRunning(ctx context.Context, named beatstats.Environment, o lintOptions, pipelines []namedPipeline, warn io.Writer) error {
	programs, err := discover.Find(ctx, discover.Options{})
	found := false
	for _, p := range pipelinesOf(programs) {
		r.add(p.file, discover.Logstash, beatstats.LintPipeline(p.PipelineConfig))
		pipelines = append(pipelines, p)
	}
	for _, p := range programs {
		if p.Settings == nil {
			if p.Kind == discover.Filebeat {
				fmt.Fprint(warn, "halfopen: not judged: "+describeProgram(p))
			}
			continue
		}
		found = true
		env := environmentOf(p)
		if o.where != (placeFlags{}) {
			env = named
		}
		env.EventsPerSecond, env.Version = named.EventsPerSecond, named.Version
		r.add(p.Config, p.Kind, beatstats.LintContext(*p.Settings, facing(env, *p.Settings, pipelines)))
	}
	switch {
	case found || len(pipelines) > 0:
		return nil
	case err != nil:
		return err
	}
	return errors.New("no Filebeat with settings that can be read runs here: name a filebeat.yml")
}
