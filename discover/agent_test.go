package discover

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"halfopen/beatstats"
)

// Elastic Agent gives its Filebeat the settings by a channel of its own, and the
// address of the counters as an option: a unix socket. It keeps one log for all
// that it runs.
func TestElasticAgent(t *testing.T) {
	for _, tc := range []struct {
		exe  string
		argv []string
	}{
		{"elastic-agent-8.6.0-2f4c1a/components/filebeat", []string{"filebeat"}},
		{"elastic-agent-8.15.0-7d1e3b/components/agentbeat", []string{"agentbeat", "filebeat"}},
	} {
		t.Run(path.Base(tc.exe), func(t *testing.T) {
			ns := host(t)
			socket := filepath.Join(t.TempDir(), "stats.sock")
			startParty(t, ns, party(t, "collector"), []string{"collector"}, "PARTY_LISTEN=127.0.0.1:5044")
			exe := party(t, tc.exe)
			log := write(t, filepath.Join(exe, "../../logs/elastic-agent-20261121.ndjson"), "")
			pid := startParty(t, ns, exe, append(tc.argv, "-E", "management.enabled=true", "-E", "http.enabled=true", "-E", "http.host=unix://"+socket),
				"PARTY_CONNECT=127.0.0.1:5044", "PARTY_STATS="+socket)
			p := discovered(t, Options{}, pid)
			if p.Kind != Filebeat || len(p.Connections) != 1 || !slices.Equal(p.Stats, []string{"unix://" + socket}) || p.Config != "" || !slices.Equal(p.Logs, []string{log}) {
				t.Errorf("found %+v", p)
			}
			because(t, p, "Elastic Agent's")
			if !strings.Contains(strings.Join(p.Missing, ";"), "Elastic Agent hands them") {
				t.Errorf("missing %q", p.Missing)
			}
			client, err := beatstats.NewClient(ns, p.Stats[0], 0)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if s, _, err := client.Scrape(t.Context()); err != nil || !s.Acked.OK() {
				t.Errorf("scraped %+v, %v", s, err)
			}
		})
	}
}
