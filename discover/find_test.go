package discover

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"halfopen/beatstats"
	"halfopen/flow"
	"halfopen/sockstate"
)

// A Filebeat and its receiver in one namespace: everything about it is found,
// and the endpoint answers from inside.
func TestFilebeat(t *testing.T) {
	ns := host(t)
	dir := t.TempDir()
	receiver := startParty(t, ns, party(t, "collector"), []string{"collector"}, "PARTY_LISTEN=127.0.0.1:5044")
	write(t, dir+"/etc/filebeat.yml", "output.logstash:\n  hosts: ['127.0.0.1:5044']\nhttp: {enabled: true, port: 5067}\n")
	write(t, dir+"/app.log", "harvested\n")
	write(t, dir+"/data/registry/filebeat/log.json", "")
	own := dir + "/logs/filebeat-20261121.ndjson"
	write(t, own, "")
	exe := party(t, "filebeat")
	pid := startParty(t, ns, exe, []string{exe, "-c", "filebeat.yml", "--path.config", dir + "/etc", "-E", "output.elasticsearch.password=hunter2"},
		"PARTY_CONNECT=127.0.0.1:5044", "PARTY_STATS=127.0.0.1:5067", "PARTY_READ="+dir+"/app.log",
		"PARTY_LOG="+own+" "+dir+"/data/registry/filebeat/log.json")

	p := discovered(t, Options{}, pid)
	inode, err := ns.Inode()
	if err != nil {
		t.Fatal(err)
	}
	if p.Kind != Filebeat || p.Role != Shipper || p.Name != "filebeat" || p.NetNS != inode || p.StartTime == 0 || p.Container != nil {
		t.Errorf("found %+v", p)
	}
	if len(p.Connections) != 1 || p.Connections[0].Remote != netip.MustParseAddrPort("127.0.0.1:5044") || p.Connections[0].State != sockstate.Established {
		t.Errorf("connections %+v", p.Connections)
	}
	if !slices.Equal(p.Ports, flow.NewPorts(5044)) || !slices.Equal(p.Stats, []string{"127.0.0.1:5067"}) {
		t.Errorf("ports %v, stats %v", p.Ports, p.Stats)
	}
	if p.Config != dir+"/etc/filebeat.yml" || !slices.Equal(p.Logs, []string{own}) {
		t.Errorf("config %q, logs %q", p.Config, p.Logs)
	}
	if line := strings.Join(p.Cmdline, " "); strings.Contains(line, "hunter2") || !strings.Contains(line, "--path.config "+dir) {
		t.Errorf("command line %q", line)
	}
	if len(p.Missing) > 0 {
		t.Errorf("missing %q", p.Missing)
	}
	because(t, p, "its executable is filebeat", "its settings are in", "names port 5044", "to 127.0.0.1:5044", "it listens there", "open for writing")

	client, err := beatstats.NewClient(ns, p.Stats[0], 0)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if s, _, err := client.Scrape(t.Context()); err != nil || s.Version != "7.17.29" || !s.Acked.OK() || s.Acked.N != 120 {
		t.Errorf("scraped %+v, %v", s, err)
	}

	r := discovered(t, Options{}, receiver)
	if r.Kind != Unknown || r.Role != Receiver || len(r.Connections) != 1 || len(r.Listeners) != 1 || !slices.Equal(r.Ports, flow.NewPorts(5044)) {
		t.Errorf("receiver %+v", r)
	}
}

// A Java that runs Logstash is a receiver on whatever ports it listens.
func TestLogstash(t *testing.T) {
	ns := host(t)
	dir := t.TempDir()
	write(t, dir+"/config/logstash.yml", "api.http.port: 9601-9700\npath:\n  logs: "+dir+"/logs\n")
	log := write(t, dir+"/logs/logstash-plain.log", "")
	pid := startParty(t, ns, party(t, "java"), []string{"/usr/share/logstash/jdk/bin/java", "-Xmx1g", "-Dls.cgroup.cpu.path.override=/",
		"-cp", "/usr/share/logstash/logstash-core/lib/jars/logstash-core.jar", "org.logstash.Logstash", "--path.settings", dir + "/config"},
		"PARTY_LISTEN=:5045", "PARTY_STATS=127.0.0.1:9601", "PARTY_LOG="+log)
	startParty(t, ns, party(t, "app"), []string{"app"}, "PARTY_CONNECT=127.0.0.1:5045")

	p := discovered(t, Options{Ports: flow.NewPorts(24224)}, pid)
	if p.Kind != Logstash || p.Role != Receiver || !slices.Equal(p.Ports, flow.NewPorts(5045)) || len(p.Connections) != 1 || len(p.Listeners) != 2 {
		t.Errorf("found %+v", p)
	}
	if !slices.Equal(p.Stats, []string{"127.0.0.1:9601"}) || !slices.Equal(p.Logs, []string{log}) || p.Config != dir+"/config/logstash.yml" {
		t.Errorf("stats %q, logs %q, config %q", p.Stats, p.Logs, p.Config)
	}
	because(t, p, "Java with Logstash", "listens on port 5045")
}

// Fluentd's supervisor is left out for its worker; Fluent Bit and Fluentd name
// their ports in their files.
func TestFluent(t *testing.T) {
	ns := host(t)
	dir := t.TempDir()
	startParty(t, ns, party(t, "sink"), []string{"sink"}, "PARTY_LISTEN=127.0.0.1:24225")
	conf := write(t, dir+"/fluent.conf", "<source>\n  @type monitor_agent\n  port 24230\n</source>\n<match **>\n  @type forward\n  <server>\n    host 127.0.0.1\n    port 24225\n  </server>\n</match>\n")
	pid := startParty(t, ns, party(t, "ruby3.2"), []string{"/opt/fluent/bin/ruby", "-Eascii-8bit:ascii-8bit", "/usr/sbin/fluentd", "-c", conf, "--under-supervisor"},
		"PARTY_CONNECT=127.0.0.1:24225", "PARTY_STATS=0.0.0.0:24230")
	p := discovered(t, Options{}, pid)
	if p.Kind != Fluentd || p.Role != Shipper || len(p.Connections) != 1 || !slices.Equal(p.Ports, flow.NewPorts(24225)) || !slices.Equal(p.Stats, []string{"127.0.0.1:24230"}) {
		t.Errorf("found %+v", p)
	}
	conf = write(t, dir+"/fluent-bit.conf", "[SERVICE]\n    HTTP_Server  On\n    HTTP_Port 2021\n[OUTPUT]\n    Name forward\n    Host 127.0.0.1\n    Port 24225\n")
	exe := party(t, "fluent-bit")
	pid = startParty(t, ns, exe, []string{exe, "-c", conf}, "PARTY_CONNECT=127.0.0.1:24225", "PARTY_STATS=127.0.0.1:2021 127.0.0.1:2020")
	p = discovered(t, Options{}, pid)
	if p.Kind != FluentBit || len(p.Connections) != 1 || !slices.Equal(p.Stats, []string{"127.0.0.1:2021", "127.0.0.1:2020"}) {
		t.Errorf("found %+v", p)
	}
}

func TestSupervisor(t *testing.T) {
	ns := host(t)
	exe := party(t, "fluentd")
	shell := filepath.Join(t.TempDir(), "fluentd")
	program, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(shell, program, 0o755); err != nil {
		t.Fatal(err)
	}
	parent := startCmd(t, ns, &exec.Cmd{Path: shell, Args: []string{"fluentd", "-c", exe + " & wait"}, Env: os.Environ(),
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true}})
	defer syscall.Kill(-parent, syscall.SIGKILL)
	inode, err := ns.Inode()
	if err != nil {
		t.Fatal(err)
	}
	all, err := Find(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var found []Program
	for _, p := range all {
		if p.Kind == Fluentd && p.NetNS == inode { // elsewhere on this host others may run
			found = append(found, p)
		}
	}
	if len(found) != 1 || found[0].PID == parent {
		t.Fatalf("found %+v, want the child of %d alone", found, parent)
	}
	because(t, found[0], "is its supervisor")
}

// A program that connects while it is looked at is found once, as what it is.
func TestConnectingMeanwhile(t *testing.T) {
	ns := host(t)
	startParty(t, ns, party(t, "sink"), []string{"sink"}, "PARTY_LISTEN=127.0.0.1:8444")
	pid := startParty(t, ns, party(t, "filebeat"), []string{"filebeat"}, "PARTY_AGAIN=127.0.0.1:8444")
	for range 20 {
		all, err := Find(t.Context(), Options{Ports: flow.NewPorts(8444)})
		if err != nil {
			t.Fatal(err)
		}
		var found []Program
		for _, p := range all {
			if p.PID == pid {
				found = append(found, p)
			}
		}
		if len(found) != 1 || found[0].Kind != Filebeat {
			t.Fatalf("found %+v", found)
		}
	}
}

// Any client of a watched port is reported; the port decides, not the program.
func TestUnknownShipper(t *testing.T) {
	ns := host(t)
	startParty(t, ns, party(t, "upstream"), []string{"upstream"}, "PARTY_LISTEN=127.0.0.1:8443")
	pid := startParty(t, ns, party(t, "pool"), []string{"pool", "--db-password", "hunter2"}, "PARTY_CONNECT=127.0.0.1:8443 127.0.0.1:8443")
	p := discovered(t, Options{Ports: flow.NewPorts(8443)}, pid)
	if p.Kind != Unknown || p.Role != Shipper || len(p.Connections) != 2 || p.Name != "pool" || !slices.Equal(p.Ports, flow.NewPorts(8443)) {
		t.Errorf("found %+v", p)
	}
	if !slices.Equal(p.Cmdline, []string{"pool", "--db-password", redacted}) {
		t.Errorf("command line %q", p.Cmdline)
	}
	all, err := Find(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(all, func(p Program) bool { return p.PID == pid }) {
		t.Error("it was found by a port that was not watched")
	}
}

// The program's own word leads no further than its own root.
func TestHostileRoot(t *testing.T) {
	ns := host(t)
	jail := t.TempDir()
	secret := write(t, t.TempDir()+"/secret.yml", "output.logstash.hosts: ['127.0.0.1:6666']\n")
	program, err := os.ReadFile(party(t, "filebeat"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(jail+"/filebeat", program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"link.yml", "up.yml"} {
		target := map[string]string{"link.yml": secret, "up.yml": strings.Repeat("../", 20) + secret}[path]
		if err := os.Symlink(target, filepath.Join(jail, path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(jail+"/fifo.yml", 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, jail+"/large.yml", strings.Repeat("# large\n", maxFile/8+1))
	write(t, jail+"/etc/filebeat/real.yml", "output.logstash.hosts: ['10.0.0.1']\n")
	if err := os.Symlink("/etc/filebeat/real.yml", jail+"/inside.yml"); err != nil {
		t.Fatal(err)
	}
	for config, want := range map[string]string{
		"link.yml": "none of", "up.yml": "none of", "fifo.yml": "not a regular file", "large.yml": "more than", "/etc": "not a regular file", "inside.yml": "",
	} {
		t.Run(config, func(t *testing.T) {
			cmd := &exec.Cmd{Path: "/filebeat", Args: []string{"filebeat", "-c", config}, Env: os.Environ(), Dir: "/",
				SysProcAttr: &syscall.SysProcAttr{Chroot: jail}}
			p := discovered(t, Options{}, startCmd(t, ns, cmd))
			if want == "" {
				if !slices.Equal(p.Ports, flow.NewPorts(5044)) || p.Config != jail+"/etc/filebeat/real.yml" {
					t.Errorf("a link within the root: %+v", p)
				}
				return
			}
			if p.Config != "" || len(p.Ports) > 0 || !slices.ContainsFunc(p.Missing, func(s string) bool { return strings.Contains(s, want) }) {
				t.Errorf("read %q, ports %v, missing %q; want %q", p.Config, p.Ports, p.Missing, want)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Find: %v", err)
	}
	if _, err := Find(t.Context(), Options{ProcRoot: t.TempDir() + "/proc"}); err == nil {
		t.Error("Find without a proc file system: no error")
	}
}
