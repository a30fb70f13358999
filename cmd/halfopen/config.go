package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"halfopen/collect"
	"halfopen/logtail"
)

const configHelp = `A file named by --config sets options by their long names, and adds patterns of your own
for lines of logs that mean something. What is given on the command line comes first:

  port: [5044, 24224]
  evidence: /var/lib/halfopen
  log: [filebeat=/var/log/filebeat/*.ndjson, "journal:logstash.service"]
  log-since: 10m
  patterns:
    - name: proxy-lost-upstream
      match: upstream .* (reset|timed out)   # or contains: plain text
      means: The proxy lost the connection to its upstream.`

// configFlag is --config: defaults for the other options, and the user's patterns.
type configFlag struct {
	path    string
	text    []byte
	matcher *logtail.Matcher
}

func (c *configFlag) add(f *pflag.FlagSet) {
	f.StringVar(&c.path, "config", "", "file with options and patterns of your own, in YAML")
}

// apply reads the file and sets the options of cmd that were not given.
func (c *configFlag) apply(cmd *cobra.Command) error {
	var rules []logtail.Rule
	if c.path != "" {
		text, err := readConfig(c.path)
		if err != nil {
			return err
		}
		c.text = text
		cfg, err := parseConfig(text)
		if err == nil {
			err = cfg.set(cmd)
		}
		if err != nil {
			return usage("--config %q: %w", c.path, err)
		}
		rules = cfg.patterns
	}
	var err error
	if c.matcher, err = logtail.NewMatcher(rules); err != nil {
		return usage("--config %q: patterns: %w", c.path, err)
	}
	return nil
}

// keep adds the file to the evidence: a pattern of the user's own is explained
// there.
func (c *configFlag) keep(rec *collect.Recorder) {
	if c.path != "" {
		rec.Save("halfopen.yml", "settings of the recorder", c.text)
	}
}

// readConfig reads at most maxConfig bytes: the shell may hand over a pipe.
func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usage("--config: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	switch {
	case err != nil:
		return nil, usage("--config: %w", err)
	case len(text) > maxConfig:
		return nil, usage("--config %q has more than %d bytes", path, maxConfig)
	}
	return text, nil
}

// set sets the options that the command line did not.
func (c config) set(cmd *cobra.Command) error {
	for _, s := range c.options {
		f := cmd.Flags().Lookup(s.name)
		switch {
		case f == nil && slices.Contains(optionNames(cmd.Root()), s.name):
			continue // another command's
		case f == nil || !settable(f):
			return fmt.Errorf("line %d: there is no option %q%s", s.line, s.name, nearest(s.name, append(optionNames(cmd.Root()), patternsKey)))
		case f.Changed:
			continue
		}
		if _, many := f.Value.(pflag.SliceValue); !many && f.Value.Type() != (&portFlag{}).Type() && len(s.values) != 1 {
			return fmt.Errorf("line %d: %s has %d values: it takes one", s.line, s.name, len(s.values))
		}
		for _, v := range s.values {
			if err := cmd.Flags().Set(s.name, v); err != nil {
				return fmt.Errorf("line %d: %w", s.line, err)
			}
		}
	}
	return nil
}

// optionNames are those that a file may set, of all commands.
func optionNames(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		if c.Flags().Lookup("config") == nil {
			continue
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if settable(f) {
				names = append(names, f.Name)
			}
		})
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func settable(f *pflag.Flag) bool { return f.Name != "config" && f.Name != "help" && !f.Hidden }

// nearest is "; did you mean …?", or nothing where none is near.
func nearest(name string, known []string) string {
	best, least := "", 3 // so many changes are no slip any more
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// distance is how many letters have to be put in, left out or changed to make one
// word of the other (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
