package main

import (
	"context"

	"halfopen/beatstats"
	"halfopen/collect"
	"halfopen/discover"
	"halfopen/timeline"
)

// find settles what the options name, or what is there, and gives each its ports,
// counters and logs. Skipped is what was found and may not be watched.
func (o *recordOptions) find(ctx context.Context) (subjects []*subject, skipped []string, err error) {
	if err := o.logs.require(ctx); err != nil {
		return nil, nil, err
	}
	if subjects, skipped, err = findSubjects(ctx, *o); err != nil {
		return nil, nil, err
	}
	return subjects, skipped, o.share(subjects)
}

func (o *recordOptions) share(subjects []*subject) error {
	o.ports.ports = portsOf(*o, subjects)
	if n := len(o.stats); n > len(subjects) {
		return usage("--stats goes with the places in order: %d are given, for %d places", n, len(subjects))
	}
	return o.logs.share(subjects)
}

// keepSettings records what the shippers were told, and what the lint says of it.
func keepSettings(rec *collect.Recorder, subjects []*subject) {
	var programs []discover.Program
	for _, s := range subjects {
		programs = append(programs, s.program)
	}
	pipelines := pipelinesOf(programs)
	for _, s := range subjects {
		if cfg := s.program.Settings; cfg != nil {
			timeout := cfg.OutputTimeout()
			rec.Append(0, timeline.Body{Settings: &timeline.Settings{Name: s.name, File: s.program.Config, Timeout: &timeout, Findings: beatstats.LintContext(*cfg, facing(lintEnvironment("the place of "+s.name, s.place.Sysctls), *cfg, pipelines))}})
		}
	}
}
