package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"halfopen/beatstats"
	"halfopen/discover"
	"halfopen/report"
	"halfopen/sockstate"
)

// lintOptions is the command line of halfopen lint.
type lintOptions struct {
	logstash     []string
	overrides    []string
	rate         float64
	recording    string
	version      string
	where        placeFlags
	strict, json bool
}

func newLint() *cobra.Command {
	var o lintOptions
	cmd := &cobra.Command{
		Use:   "lint [FILE…]",
		Short: "Judge the settings that decide what a shipper does when its peer falls silent",
		Long: `lint reads a filebeat.yml, and Logstash pipelines beside it, and says which settings decide
how long a half-open connection lasts, what they do, why, what to set, and how that is
known: timeout, ttl, pipelining, workers, the queue, the address of the counters, the
receiver's patience, the kernel's; and what Filebeat reads otherwise than it looks.

Without FILE, the settings of the Filebeats that run here are judged. "-" is standard input.
A Logstash pipeline is told by its first word. The TCP settings of this network namespace
are taken, or of the one that --netns, --pid or --container names.

Exit codes: 0 no finding of level error (with --strict: nor warning); 1 a file can't be read;
2 usage; 3 a finding of level error: the shipper does not start, or never delivers.`,
		Example: `  halfopen lint filebeat.yml
  halfopen lint filebeat.yml logstash.conf --rate 500
  sudo halfopen lint                        # what runs here
  docker cp filebeat:/usr/share/filebeat/filebeat.yml - | tar -xO | halfopen lint -
  halfopen lint --strict --json filebeat.yml | jq -r '.files[].findings[] | select(.level != "info") | .what'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if math.IsNaN(o.rate) || o.rate < 0 || math.IsInf(o.rate, 0) {
				return usage("--rate %g: want events a second", o.rate)
			}
			if o.rate > 0 && o.recording != "" {
				return usage("--rate and --recording both tell the rate: give one")
			}
			for _, pair := range o.overrides {
				if name, _, ok := strings.Cut(pair, "="); !ok || name == "" {
					return usage("--override %q: want name=value", pair)
				}
			}
			r, err := runLint(cmd.Context(), o, args, cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := r.print(cmd.OutOrStdout(), o.json); err != nil {
				return err
			}
			if r.Errors > 0 || o.strict && r.Warnings > 0 {
				return codeError(exitStalled)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&o.logstash, "logstash", nil, "a Logstash pipeline that the shipper sends to; repeats")
	f.StringArrayVarP(&o.overrides, "override", "E", nil, "name=value that stands above the file, as Filebeat's -E; repeats")
	f.Float64Var(&o.rate, "rate", 0, "events a second that the shipper reads: says when its queue is full")
	f.StringVar(&o.recording, "recording", "", "take the rate from this recording")
	f.StringVar(&o.version, "beat-version", "", "release of the shipper, such as 8.12.0: its defaults")
	o.where.add(f)
	f.BoolVar(&o.strict, "strict", false, "exit code 3 for a warning too")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return cmd
}

// linted is what lint prints.
type linted struct {
	Namespace string             `json:"namespace,omitempty"` // whose TCP settings were taken
	Sysctls   *sockstate.Sysctls `json:"sysctls,omitempty"`
	Files     []lintedFile       `json:"files"`
	Errors    int                `json:"errors"`
	Warnings  int                `json:"warnings"`
}

// lintedFile is what the lint says of one file.
type lintedFile struct {
	File     string              `json:"file"`
	Kind     string              `json:"kind"` // filebeat or logstash
	Findings []beatstats.Finding `json:"findings"`
}

func (r *linted) add(file, kind string, findings []beatstats.Finding) {
	r.Files = append(r.Files, lintedFile{File: file, Kind: kind, Findings: append([]beatstats.Finding{}, findings...)})
	for _, f := range findings {
		switch f.Level {
		case beatstats.LevelError:
			r.Errors++
		case beatstats.LevelWarning:
			r.Warnings++
		}
	}
}

func (r *linted) print(out io.Writer, asJSON bool) error {
	var text []byte
	for _, f := range r.Files {
		text = append(text, report.Findings(f.File, f.Findings)...)
		text = append(text, '\n')
	}
	text = fmt.Appendf(text, "%s, %s", plural(r.Errors, "error"), plural(r.Warnings, "warning"))
	if r.Namespace != "" {
		text = fmt.Appendf(text, "; TCP settings of %s", r.Namespace)
	}
	text = append(text, '\n')
	if asJSON {
		var err error
		if text, err = report.JSON(r); err != nil {
			return err
		}
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("print findings: %w", err)
	}
	return nil
}

func runLint(ctx context.Context, o lintOptions, files []string, stdin io.Reader, warn io.Writer) (*linted, error) {
	r := &linted{}
	env, err := o.environment(ctx, r, warn)
	if err != nil {
		return nil, err
	}
	var pipelines []namedPipeline
	type input struct {
		file string
		src  []byte
	}
	var shippers []input
	for i, file := range append(slices.Clone(o.logstash), files...) {
		src, err := readInput(file, stdin)
		if err != nil {
			return nil, err
		}
		if i >= len(o.logstash) && filepath.Ext(file) != ".conf" && !beatstats.LooksLikePipeline(src) {
			shippers = append(shippers, input{file, src})
			continue
		}
		p, err := beatstats.ParsePipeline(bytes.NewReader(src))
		if errors.Is(err, beatstats.ErrTooMuch) {
			return nil, fmt.Errorf("%q: %w", file, err)
		}
		if err != nil {
			r.add(file, discover.Logstash, []beatstats.Finding{unparsed(err)})
			continue
		}
		pipelines = append(pipelines, namedPipeline{file, p})
		r.add(file, discover.Logstash, beatstats.LintPipeline(p))
	}
	for _, in := range shippers {
		s, err := beatstats.ParseSettings(bytes.NewReader(in.src), o.overrides...)
		if errors.Is(err, beatstats.ErrTooMuch) {
			return nil, fmt.Errorf("%q: %w", in.file, err)
		}
		if err != nil {
			r.add(in.file, discover.Filebeat, []beatstats.Finding{unparsed(err)})
			continue
		}
		r.add(in.file, discover.Filebeat, beatstats.LintContext(s, facing(env, s, pipelines)))
	}
	if len(files) == 0 {
		return r, r.addRunning(ctx, env, o, pipelines, warn)
	}
	return r, nil
}

// unparsed is a file that its program does not start with.
func unparsed(err error) beatstats.Finding {
	return beatstats.Finding{
		Rule: "not-parsed", Level: beatstats.LevelError, Setting: "the file", What: err.Error(),
		Why: "a program that can't read its settings does not start", Set: "what that line should say", Source: "YAML 1.2.2; Logstash reference, Structure of a pipeline",
	}
}

func readInput(file string, stdin io.Reader) ([]byte, error) {
	const most = 2 << 20 // beyond what the parsers take
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		defer f.Close()
		stdin = f
	}
	src, err := io.ReadAll(io.LimitReader(stdin, most))
	if err != nil {
		return nil, fmt.Errorf("read settings %q: %w", file, err)
	}
	return src, nil
}
