package beatstats

import (
	"slices"
	"strings"
)

// pages are all that is ever asked of a service, by GET: each tells and changes
// nothing. It is a list of what may be asked, not of what may not: a Beat's
// /store-inspector deletes, Fluentd's RPC ends workers, both by GET.
var pages = []string{
	"/stats", "/state", "/inputs/", "/debug/pprof/goroutine", // Beats
	"/_node/stats", "/_node/hot_threads", // Logstash
	"/api/plugins.json",                                                // Fluentd
	"/api/v1/metrics", "/api/v2/metrics", "/api/v2/metrics/prometheus", // Fluent Bit
}

// onlyTells reports whether path is "/", which names the service, or one of the
// pages, which may stand behind the prefix of a proxy.
func onlyTells(path string) bool {
	path, _, _ = strings.Cut(path, "?")
	return path == "/" || slices.ContainsFunc(pages, func(p string) bool { return strings.HasSuffix(path, p) })
}

// OnsetPages are what a service tells of itself beside its counters, as far as
// it helps to see what it waits for; Again is to be asked twice.
func OnsetPages(kind string) []Page {
	switch kind {
	case Beat:
		return []Page{
			{Path: "/debug/pprof/goroutine?debug=2", Name: "goroutines.txt", What: "stacks of the goroutines", Again: true, Absent: "pprof is off (http.pprof.enabled)"},
			{Path: "/state", Name: "state.json", What: "modules, inputs and output"},
			{Path: "/inputs/", Name: "inputs.json", What: "counters of each input", Absent: "it is not there before 8.7"},
		}
	case Logstash:
		return []Page{{Path: "/_node/hot_threads?human=true", Name: "hot-threads.txt", What: "busiest threads"}}
	}
	return nil
}

// Page is a page that is kept as it is.
type Page struct {
	Path   string
	Name   string // last part of a file's name
	What   string
	Again  bool   // to be read twice, some seconds apart
	Absent string // what a 404 means, where that is known
}
