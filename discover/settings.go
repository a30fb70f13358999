package discover

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"halfopen/beatstats"
	"halfopen/flow"
)

// settings is what a program's arguments and file say.
type settings struct {
	stats    []string   // endpoints, as the program sees them
	ships    flow.Ports // ports of its outputs
	receives flow.Ports // ports of its inputs
	logDir   string
	logName  string // what the names of its log files begin with
}

// configure reads the settings of a program of a known kind.
func (f *finder) configure(k *process) settings {
	switch k.Kind {
	case Filebeat:
		return k.beat()
	case Logstash:
		return k.logstash()
	case Fluentd, FluentBit:
		return k.fluent()
	case Vector:
		k.config(option(k.raw, "c", "config", "config-yaml", "config-toml"), "/etc/vector/vector.yaml", "/etc/vector/vector.toml")
	}
	return settings{}
}

// config reads the first of the candidates that is there.
func (k *process) config(candidates ...string) (body []byte) {
	var tried []string
	for _, path := range candidates {
		if path == "" || slices.Contains(tried, path) {
			continue
		}
		tried = append(tried, path)
		body, from, err := k.root.read(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, fs.ErrPermission):
			k.miss("its settings %q (%s)", path, needs)
			return nil
		case err != nil:
			k.miss("its settings: %v", err)
			return nil
		}
		k.Config = from
		k.say("its settings are in %s", from)
		return body
	}
	k.miss("its settings: none of %s is there", strings.Join(tried, ", "))
	return nil
}

// underneath gives name below each folder, in order; an absolute one is itself.
func underneath(name string, folders ...string) []string {
	if filepath.IsAbs(name) {
		return []string{name}
	}
	var out []string
	for _, dir := range folders {
		if dir != "" {
			out = append(out, filepath.Join(dir, name))
		}
	}
	return out
}

// beat reads filebeat.yml and the -E options that stand above it (libbeat/cmd).
func (k *process) beat() settings {
	pairs := options(k.raw, "E")
	over := overrides(pairs)
	set := settings{logName: cmp.Or(over["logging.files.name"], Filebeat)}
	home := cmp.Or(option(k.raw, "path.home"), over["path.home"])
	dir := cmp.Or(option(k.raw, "path.config"), over["path.config"])
	logs := cmp.Or(option(k.raw, "path.logs"), over["path.logs"])
	var body []byte
	managed := over["management.enabled"] == "true"
	if managed {
		k.miss("its settings: Elastic Agent hands them to it, in no file")
	} else {
		name := cmp.Or(option(k.raw, "c", "config"), "filebeat.yml")
		body = k.config(underneath(name, dir, home, k.root.cwd, "/etc/filebeat", "/usr/share/filebeat")...)
	}
	file, err := beatstats.ParseSettings(bytes.NewReader(body), pairs...)
	if err != nil {
		k.miss("its settings: %v", err)
	}
	names := parseScalars(body)
	if k.Config != "" {
		k.Settings = &file
	}
	if endpoint, on := file.Endpoint(); on {
		set.stats = append(set.stats, endpoint)
	}
	byDefault := map[string]uint16{"logstash": 5044, "elasticsearch": 9200, "redis": 6379, "kafka": 9092}[file.Output]
	for _, host := range file.Hosts {
		if port, ok := portOf(host, byDefault); ok {
			set.ships = union(set.ships, flow.NewPorts(port))
			k.say("its %s output names port %d", file.Output, port)
		}
	}
	set.logDir = cmp.Or(over["logging.files.path"], names["logging.files.path"], logs, names["path.logs"], "/var/log/filebeat")
	set.logName = cmp.Or(over["logging.files.name"], names["logging.files.name"], Filebeat)
	if managed && componentOfAgent(k.exe) { // whose log holds those of all it runs
		set.logDir, set.logName = filepath.Join(k.exe, "../../logs"), "elastic-agent"
	}
	return set
}

// overrides reads "name=value" of -E; of one name the last counts.
func overrides(pairs []string) map[string]string {
	out := map[string]string{}
	for _, pair := range pairs {
		if name, value, ok := strings.Cut(pair, "="); ok {
			out[name] = value
		}
	}
	return out
}

// portOf reads "host", "host:port", "[::1]:port" and "scheme://host:port/path".
func portOf(host string, byDefault uint16) (uint16, bool) {
	if _, rest, ok := strings.Cut(host, "://"); ok {
		host, _, _ = strings.Cut(rest, "/")
	}
	if _, port, err := net.SplitHostPort(host); err == nil {
		p, err := flow.ParsePort(port)
		return p, err == nil
	}
	return byDefault, byDefault != 0 && host != ""
}

// logstash reads logstash.yml and its pipelines, whose ports its listeners show.
func (k *process) logstash() settings {
	dir := option(k.raw, "path.settings")
	yml := parseScalars(k.config(underneath("logstash.yml", dir, "/etc/logstash", "/usr/share/logstash/config")...))
	set := settings{logName: "logstash-plain"}
	set.logDir = cmp.Or(option(k.raw, "path.logs", "l"), yml["path.logs"], "/var/log/logstash")
	host := cmp.Or(yml["api.http.host"], yml["http.host"], "127.0.0.1")
	port := cmp.Or(yml["api.http.port"], yml["http.port"])
	port, _, _ = strings.Cut(port, "-") // of a range the first free one is taken
	if p, err := flow.ParsePort(port); err == nil && yml["api.enabled"] != "false" {
		set.stats = append(set.stats, net.JoinHostPort(host, fmt.Sprint(p)))
	}
	k.pipelines()
	return set
}

// fluent reads fluent.conf or fluent-bit.conf.
func (k *process) fluent() settings {
	paths := []string{option(k.raw, "c", "config"), "/etc/fluent-bit/fluent-bit.conf", "/fluent-bit/etc/fluent-bit.conf"}
	if k.Kind == Fluentd {
		paths = []string{paths[0], "/etc/fluent/fluentd.conf", "/etc/fluent/fluent.conf", "/etc/td-agent/td-agent.conf", "/fluentd/etc/fluent.conf"}
	}
	set := settings{logName: k.Kind}
	if log := option(k.raw, "o", "l", "log", "log_file"); log != "" {
		set.logDir = filepath.Dir(log)
	}
	for _, b := range parseBlocks(k.config(paths...)) {
		switch {
		case b.head == "source" && b.is("monitor_agent"):
			set.stats = append(set.stats, net.JoinHostPort(b.get("bind", "127.0.0.1"), b.get("port", "24220")))
		case b.head == "service" && strings.EqualFold(b.get("http_server", "off"), "on"):
			set.stats = append(set.stats, net.JoinHostPort(b.get("http_listen", "0.0.0.0"), b.get("http_port", "2020")))
		case !b.is("forward"):
		case b.head == "source" || b.head == "input":
			set.receives = union(set.receives, b.ports())
		case b.head == "match" || b.head == "output":
			set.ships = union(set.ships, b.ports())
		}
	}
	if len(set.ships) > 0 {
		k.say("its forward output names port %v", set.ships)
	}
	return set
}

func (b block) ports() flow.Ports {
	var out flow.Ports
	for _, text := range b.values["port"] {
		if p, err := flow.ParsePort(text); err == nil {
			out = union(out, flow.NewPorts(p))
		}
	}
	if len(b.values["port"]) == 0 {
		out = flow.NewPorts(24224)
	}
	return out
}
