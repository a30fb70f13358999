package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"halfopen/beatstats"
	"halfopen/discover"
	"halfopen/flow"
	"halfopen/report"
)

func newDoctor() *cobra.Command {
	var ports portFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what can be watched on this host, and what is missing for more",
		Long: `doctor prints the shippers and receivers that "halfopen record" would watch, what the lint
says of their settings, which rights this process lacks, which features the kernel lacks,
and what each would add. It tries them for real, and changes nothing.

Exit codes: 0 there is something to watch, 1 error, 2 usage, 4 nothing was found.`,
		Example: `  halfopen doctor
  sudo halfopen doctor --port 24224
  halfopen doctor --json | jq '.checks[] | select(.ok | not)'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ports.hint(cmd.ErrOrStderr())
			d := examine(cmd.Context(), ports.asked())
			if err := d.print(cmd.OutOrStdout(), asJSON); err != nil {
				return err
			}
			if len(d.Programs) == 0 {
				return codeError(exitInconclusive)
			}
			return nil
		},
	}
	cmd.Flags().Var(&ports, "port", "port of the connections; repeats")
	cmd.Flags().Lookup("port").DefValue = "5044 and 24224, and those that the programs use"
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// diagnosis is what doctor finds.
type diagnosis struct {
	Programs []discover.Program `json:"programs"`
	NotFound string             `json:"not_found,omitempty"` // why there are none
	Lint     []lintOf           `json:"lint,omitempty"`
	Checks   []check            `json:"checks"`
}

// lintOf is what the lint says of a program's settings.
type lintOf struct {
	Config   string              `json:"config"`
	Findings []beatstats.Finding `json:"findings,omitempty"`
}

func examine(ctx context.Context, ports flow.Ports) diagnosis {
	programs, err := discover.Find(ctx, discover.Options{Ports: ports})
	d := diagnosis{Programs: slices.Concat([]discover.Program{}, programs)} // a list in JSON, though empty
	if err != nil {
		d.NotFound = err.Error()
	}
	pipelines := pipelinesOf(d.Programs)
	for _, p := range pipelines {
		d.Lint = append(d.Lint, lintOf{Config: p.file, Findings: beatstats.LintPipeline(p.PipelineConfig)})
	}
	for _, p := range d.Programs {
		if p.Settings != nil {
			d.Lint = append(d.Lint, lintOf{Config: p.Config, Findings: beatstats.LintContext(*p.Settings, facing(environmentOf(p), *p.Settings, pipelines))})
		}
	}
	d.Checks = append(rights(), kernel(discover.DefaultPorts)...)
	return d
}

func (d diagnosis) print(out io.Writer, asJSON bool) error {
	text := []byte(report.Plain(d.text()))
	if asJSON {
		var err error
		if text, err = report.JSON(d); err != nil {
			return err
		}
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("print diagnosis: %w", err)
	}
	return nil
}

func (d diagnosis) text() string {
	var b strings.Builder
	b.WriteString("what record would watch\n")
	for _, p := range d.Programs {
		b.WriteString(indent(describeProgram(withJournal(p))))
	}
	if len(d.Programs) == 0 {
		b.WriteString("  nothing: no program that ships logs was found\n")
		if d.NotFound != "" {
			fmt.Fprintf(&b, "  %s\n", d.NotFound)
		}
		b.WriteString("  name what to watch with --pid, --container or --netns, or another --port\n")
	}
	for _, l := range d.Lint {
		fmt.Fprintf(&b, "\nsettings in %s", report.Findings(l.Config, l.Findings))
	}
	b.WriteString("\nrights and kernel features\n")
	for _, c := range d.Checks {
		mark := "yes"
		if !c.OK {
			mark = "NO "
		}
		fmt.Fprintf(&b, "  %s %s: %s\n", mark, c.Name, c.Adds)
		if c.Why != "" {
			fmt.Fprintf(&b, "      %s\n", c.Why)
		}
	}
	if lacks := missing(d.Checks); len(lacks) > 0 {
		exe, _ := os.Executable()
		fmt.Fprintf(&b, "\nfor these rights run it as root, or once: sudo setcap %s=ep %s\n", strings.Join(lacks, ","), cmp.Or(exe, "halfopen"))
	}
	return b.String()
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n  ") + "\n"
}
