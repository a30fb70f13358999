package discover

import (
	"path"
	"slices"
	"strings"
)

// recognise tells what a program is by the path of its executable, "" if not
// known, and its arguments; kind is "" for any other program.
func recognise(exe string, args []string) (kind, why string) {
	names := []string{path.Base(strings.TrimSuffix(exe, " (deleted)"))}
	if len(args) > 0 {
		names = append(names, path.Base(args[0]))
	}
	for _, name := range names {
		if kind, why = byName(name, exe, args); kind != "" {
			return kind, why
		}
	}
	return "", ""
}

func byName(name, exe string, args []string) (kind, why string) {
	var rest []string
	if len(args) > 1 {
		rest = args[1:]
	}
	switch {
	case name == Filebeat && componentOfAgent(exe):
		return Filebeat, "it is Elastic Agent's filebeat"
	case name == Filebeat, name == FluentBit, name == Vector, name == Fluentd:
		return name, "its executable is " + name
	case name == "td-agent-bit":
		return FluentBit, "its executable is td-agent-bit, Fluent Bit's old package"
	case name == "agentbeat" && len(rest) > 0 && rest[0] == Filebeat:
		return Filebeat, "it is Elastic Agent's agentbeat, run as filebeat"
	case name == "java" && slices.ContainsFunc(rest, ofLogstash):
		return Logstash, "it is Java with Logstash in its arguments"
	case strings.HasPrefix(name, "ruby") && slices.ContainsFunc(rest, ofFluentd):
		return Fluentd, "it is Ruby with Fluentd's script"
	case strings.HasPrefix(name, "ruby") && len(args) > 0 && (strings.HasPrefix(args[0], "worker:") || strings.HasPrefix(args[0], "supervisor:")):
		return Fluentd, "it is Ruby with the title of a Fluentd process"
	}
	return "", ""
}

// componentOfAgent reports whether Elastic Agent brought the executable:
// …/elastic-agent-VERSION/components/filebeat.
func componentOfAgent(exe string) bool { return path.Base(path.Dir(exe)) == "components" }

func ofLogstash(arg string) bool {
	return arg == "org.logstash.Logstash" || strings.HasPrefix(arg, "-Dls.") || strings.Contains(arg, "logstash-core")
}

func ofFluentd(arg string) bool {
	name := path.Base(arg)
	return name == "fluentd" || name == "td-agent" || name == "fluent-package"
}

// options gives the values of an option of a command line, whether "-c v",
// "-c=v" or "--c=v"; Beats take one dash or two for any.
func options(args []string, names ...string) []string {
	var out []string
	for i, arg := range args {
		name := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
		if i == 0 || name == arg {
			continue
		}
		name, value, inline := strings.Cut(name, "=")
		if !slices.Contains(names, name) {
			continue
		}
		if inline {
			out = append(out, value)
		} else if i+1 < len(args) {
			out = append(out, args[i+1])
		}
	}
	return out
}

// option gives the last value, which counts.
func option(args []string, names ...string) string {
	if all := options(args, names...); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}
