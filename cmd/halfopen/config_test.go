package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const exampleConfig = `# as in the help
port: [5044, 0x5EA0]
experiment: mine
log:
  - filebeat=/var/log/filebeat/*.ndjson
  - "kmsg:"
log-since: 10m
quiet: true
pid: 12
drop-for: 30s   # of the lab
patterns:
  - name: proxy-lost-upstream
    match: upstream .* (reset|timed out)
    means: The proxy lost the connection to its upstream.
  - {name: own, contains: "boom", means: It went boom.}
`

// recordWith runs "halfopen record" as far as its options.
func recordWith(t *testing.T, config string, args ...string) (*recordOptions, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "halfopen.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	root := newRoot()
	var o recordOptions
	cmd := &cobra.Command{Use: "trial", SilenceErrors: true, SilenceUsage: true, RunE: func(cmd *cobra.Command, _ []string) error {
		if err := o.config.apply(cmd); err != nil {
			return err
		}
		return o.check()
	}}
	o.add(cmd.Flags())
	root.AddCommand(cmd)
	root.SetArgs(append([]string{"trial", "--config", path}, args...))
	return &o, root.Execute()
}

func TestConfig(t *testing.T) {
	o, err := recordWith(t, exampleConfig)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.ports.set(), []uint16{5044, 24224}) || o.experiment != "mine" || o.evidence != defaultEvidence || !o.quiet || !slices.Equal(o.pids, []int{12}) {
		t.Errorf("%+v", o)
	}
	if len(o.logs.specs) != 2 || o.logs.specs[0] != (logSpec{"filebeat", "", "/var/log/filebeat/*.ndjson"}) || o.logs.since.Minutes() != 10 {
		t.Errorf("logs %+v", o.logs)
	}
	for line, want := range map[string]string{"upstream 10.0.0.1 timed out": "proxy-lost-upstream", "BOOM": "", "a boom": "own"} {
		got := ""
		for _, p := range o.config.matcher.Match(line) {
			got += p.Name
		}
		if got != want {
			t.Errorf("%q matches %q, want %q", line, got, want)
		}
	}
	// The command line comes first.
	o, err = recordWith(t, exampleConfig, "--port", "12345", "--experiment", "other", "--log", "/x")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(o.ports.set(), []uint16{12345}) || o.experiment != "other" || len(o.logs.specs) != 1 {
		t.Errorf("%+v", o)
	}
}

// Editors on Windows begin a file with the mark of UTF-8.
func TestConfigWithByteOrderMark(t *testing.T) {
	o, err := recordWith(t, "\ufeffport: 5045\r\n")
	if err != nil || !slices.Equal(o.ports.set(), []uint16{5045}) {
		t.Errorf("ports %v, error %v", o.ports.set(), err)
	}
}

func TestConfigOfNothing(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "\n\n", "patterns: []\n"} {
		if o, err := recordWith(t, text); err != nil || o.config.matcher == nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A mistake is named with its line, and with what was meant where that is clear.
func TestConfigMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"experiment: x\nprot: 5044\n":         `line 2: there is no option "prot"; did you mean "port"?`,
		"pattern: []\n":                       `line 1: there is no option "pattern"; did you mean "patterns"?`,
		"frobnicate: 1\n":                     `line 1: there is no option "frobnicate"`,
		"config: other.yml\n":                 `there is no option "config"`,
		"port: nine\n":                        "line 1: invalid argument",
		"port:\n":                             "line 1: port: it has no value",
		"port: {a: b}\n":                      "line 1: port: want a value, or a list",
		"experiment: [a, b]\n":                "line 1: experiment has 2 values: it takes one",
		"experiment: a\nexperiment: b\n":      "line 2",
		"experiment: a/b\n":                   "experiment name",
		"log: [\"journal:\"]\n":               "--log \"journal:\"",
		"patterns: x\n":                       "line 1: patterns: want a list",
		"patterns:\n  - name: a\n    mach: b": `line 3: a pattern has no "mach"; did you mean "match"?`,
		"patterns:\n  - name: a\n    match: '('\n    means: x":                              "line 2: rule 1, \"a\"",
		"patterns:\n  - name: a\n    means: x":                                              "line 2: rule 1, \"a\"",
		"patterns:\n  - name: filebeat-mine\n    match: x\n    means: y":                    "line 2",
		"patterns:\n  - &a {name: a, match: x, means: y}\n  - *a\n":                         "line 2",
		"patterns:\n  - {name: a, match: x, means: y}\n  - {name: a, match: z, means: y}\n": "another rule has this name",
		"- a\n":                                "line 1: want names with values",
		"just words\n":                         "line 1: want names with values",
		"a: b\n---\nc: d\n":                    "more than one document",
		"experiment: \"x\nport: 1":             "line",
		"\tport: 1\n":                          "line 1",
		"<<: {port: 1}\n":                      "line 1",
		"? [a]\n: b\n":                         "line 2",
		strings.Repeat("[", 300):               "more than 200 brackets",
		"a: " + strings.Repeat("x", maxConfig): "more than 65536 bytes",
		strings.Repeat(" ", 40) + "a: b":       "indented by more than 32 columns",
		strings.Repeat("- ", 20) + "a":         "more than 8 lists in one line",
		strings.Repeat("a: b\n", 1001):         "more than 1000 lines",
	} {
		_, err := recordWith(t, text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
	if _, err := recordWith(t, "", "--config", "/nowhere.yml"); err == nil || !strings.Contains(err.Error(), "/nowhere.yml") {
		t.Errorf("no file: %v", err)
	}
	if _, err := recordWith(t, "", "--config", t.TempDir()); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("a folder: %v", err)
	}
}

// Whatever the file holds, it is read or refused within the bounds.
func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(exampleConfig))
	for _, seed := range []string{
		"a: &a [*a]\n", "a: !!binary x\n", "a: |\n b\n", "? a\n: b\n", "{a: b, c: [d]}\n", "%YAML 1.2\n---\na: b\n", "a: 'b\n", "patterns:\n- name: a\n",
		strings.Repeat("- ", 8) + "a", strings.Repeat("[", 200), "a: \"\\x\"\n", "\xff\xfe", "a: b: c\n", "<<: *a\n", "a:\n\t- b\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > maxConfig {
			return
		}
		c, err := parseConfig(src)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error that says nothing")
			}
			return
		}
		for _, o := range c.options {
			if o.name == "" && o.line == 0 {
				t.Errorf("option %+v", o)
			}
		}
		for _, p := range c.patterns {
			if p.Name == "" || p.Means == "" || (p.Contains == "") == (p.Regexp == "") {
				t.Errorf("pattern %+v", p)
			}
		}
	})
}
