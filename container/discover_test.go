package container_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"halfopen/beatstats"
	"halfopen/discover"
	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
)

// A shipper in a container is found from the host with all that belongs to it,
// though its sockets, files and loopback are the container's. The test is here
// because the engine is.
func TestDiscoverInContainer(t *testing.T) {
	d := docker(t)
	receiver := d.run("halfopen-receiver", "PARTY_LISTEN=:5044")
	id := d.run("halfopen-shipper", "PARTY_CONNECT="+d.address(receiver)+":5044", "PARTY_STATS=127.0.0.1:5066", "PARTY_LOG=/tmp/filebeat.log")
	all, err := discover.Find(t.Context(), discover.Options{})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(p discover.Program) bool { return p.Container != nil && p.Container.ID == id })
	if i < 0 {
		t.Fatalf("not found among %+v", all)
	}
	p := all[i]
	c := find(t, "halfopen-shipper")
	if p.Kind != discover.Filebeat || p.Role != discover.Shipper || p.PID != c.PID || p.StartTime != c.StartTime || *p.Container != c {
		t.Errorf("found %+v, want %+v", p, c)
	}
	if len(p.Connections) != 1 || p.Connections[0].State != sockstate.Established || p.Connections[0].Remote.String() != d.address(receiver)+":5044" {
		t.Errorf("connections %+v", p.Connections)
	}
	if !slices.Equal(p.Stats, []string{"127.0.0.1:5066"}) || !slices.Equal(p.Ports, flow.NewPorts(5044)) {
		t.Errorf("stats %q, ports %v", p.Stats, p.Ports)
	}
	inside := "/proc/" + strconv.Itoa(p.PID) + "/root"
	if p.Config != inside+"/etc/filebeat/filebeat.yml" || !slices.Equal(p.Logs, []string{inside + "/tmp/filebeat.log", c.LogPath}) {
		t.Errorf("config %q, logs %q", p.Config, p.Logs)
	}
	if text, err := os.ReadFile(p.Config); err != nil || string(text) != settings {
		t.Errorf("the settings are not those of the container: %q, %v", text, err)
	}
	if len(p.Missing) > 0 || !strings.Contains(strings.Join(p.Why, ";"), "container "+id[:12]) {
		t.Errorf("missing %q, why %q", p.Missing, p.Why)
	}
	ns, err := netns.Open(c.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	client, err := beatstats.NewClient(ns, p.Stats[0], time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if s, _, err := client.Scrape(t.Context()); err != nil || s.Version != "7.17.29" {
		t.Errorf("scraped %+v, %v", s, err)
	}
}
