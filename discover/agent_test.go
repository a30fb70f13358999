package discover

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"halfopen/beatstats"
)

// Elastic Agent gives its Filebeat the settings by a channel of its own, and the
// address of the counters as an option: a unix socket.
func TestElasticAgent(t *testing.T) {
	ns := host(t)
	socket := filepath.Join(t.TempDir(), "stats.sock")
	startParty(t, ns, party(t, "collector"), []string{"collector"}, "PARTY_LISTEN=127.0.0.1:5044")
	exe := party(t, "agentbeat")
	pid := startParty(t, ns, exe, []string{exe, "filebeat", "-E", "management.enabled=true", "-E", "http.enabled=true", "-E", "http.host=unix://" + socket},
		"PARTY_CONNECT=127.0.0.1:5044", "PARTY_STATS="+socket)
	p := discovered(t, Options{}, pid)
	if p.Kind != Filebeat || len(p.Connections) != 1 || !slices.Equal(p.Stats, []string{"unix://" + socket}) || p.Config != "" {
		t.Errorf("found %+v", p)
	}
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
}
