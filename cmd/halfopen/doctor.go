package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"halfopen/beatstats"
	"halfopen/discover"
	"halfopen/flow"
	"halfopen/netns"
	"halfopen/report"
	"halfopen/sockstate"
)

func newDoctor() *cobra.Command {
	var ports portFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what can be watched on this host, and what is missing for more",
		Long: `doctor prints the shippers and receivers that "halfopen record" would watch, what the lint
says of their settings, which rights this process lacks, which features the kernel lacks,
and what each would add. It changes nothing.

Exit code 0: there is something to watch. 4: nothing was found.`,
		Example: `  halfopen doctor
  sudo halfopen doctor --port 24224
  halfopen doctor --json | jq '.checks[] | select(.ok | not)'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ports.hint(cmd.ErrOrStderr())
			d := examine(cmd.Context(), ports.set())
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

// check is a right or a feature of the kernel.
type check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	Why  string `json:"why,omitempty"` // of a failure
	Adds string `json:"adds"`          // what it is good for
}

func examine(ctx context.Context, ports flow.Ports) diagnosis {
	var d diagnosis
	var err error
	if d.Programs, err = discover.Find(ctx, discover.Options{Ports: ports}); err != nil {
		d.NotFound = err.Error()
	}
	for _, p := range d.Programs {
		if p.Settings != nil {
			d.Lint = append(d.Lint, lintOf{Config: p.Config, Findings: beatstats.Lint(*p.Settings)})
		}
	}
	d.Checks = append(rights(), kernel(ports)...)
	return d
}

// rights looks at the capabilities of this process (capabilities(7)).
func rights() (checks []check) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&hdr, &data[0])
	for _, c := range []struct {
		name string
		bit  int
		adds string
	}{
		{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN, "other network namespaces (containers); the lab, where user namespaces are not allowed"},
		{"CAP_SYS_PTRACE", unix.CAP_SYS_PTRACE, "the processes behind other users' sockets, their settings and logs"},
		{"CAP_DAC_READ_SEARCH", unix.CAP_DAC_READ_SEARCH, "the files of other users: settings, logs, descriptors"},
		{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, "conntrack entries of a router; faults"},
	} {
		ok := err == nil && data[c.bit/32].Effective&(1<<(c.bit%32)) != 0
		k := check{Name: c.name, OK: ok, Adds: c.adds}
		if !ok {
			k.Why = "this process does not have it: run as root, or give the program the capability"
			if err != nil {
				k.Why = err.Error()
			}
		}
		checks = append(checks, k)
	}
	return checks
}

// kernel tries the kernel's features for real, in the caller's own namespace.
func kernel(ports flow.Ports) []check {
	try := func(name, adds string, f func() error) check {
		k := check{Name: name, OK: true, Adds: adds}
		if err := f(); err != nil {
			k.OK, k.Why = false, err.Error()
		}
		return k
	}
	return []check{
		try("inet_diag", "tcp_info: retransmissions, ages of the last ACK and data, bytes; without it only /proc/net/tcp", func() error {
			diag, err := sockstate.OpenDiag(nil, ports)
			if err != nil {
				return err
			}
			defer diag.Close()
			_, err = diag.Dump()
			return err
		}),
		try("notices of sockets that end", "the exact end of a connection, and its last state", func() error {
			w, err := sockstate.OpenWatch(nil, ports)
			if err != nil {
				return err
			}
			return w.Close()
		}),
		try("network namespaces", "containers, and the lab", func() error {
			ns, err := netns.New()
			if errors.Is(err, os.ErrPermission) {
				_, err = os.Stat("/proc/self/ns/net") // whether one may make them is told above
				return err
			}
			if err != nil {
				return err
			}
			return ns.Close()
		}),
		try("TCP counters", "retransmissions and dropped connections of a whole namespace", func() error {
			_, err := sockstate.ReadCounters("/proc/self")
			return err
		}),
	}
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
		b.WriteString(indent(describeProgram(p)))
	}
	if len(d.Programs) == 0 {
		b.WriteString("  nothing: no program that ships logs was found\n")
		if d.NotFound != "" {
			fmt.Fprintf(&b, "  %s\n", d.NotFound)
		}
		b.WriteString("  name what to watch with --pid, --container or --netns, or another --port\n")
	}
	for _, l := range d.Lint {
		fmt.Fprintf(&b, "\nsettings in %s\n", l.Config)
		if len(l.Findings) == 0 {
			b.WriteString("  nothing to say\n")
		}
		for _, f := range l.Findings {
			fmt.Fprintf(&b, "  %s: %s: %s. %s. %s\n", f.Level, f.Setting, f.What, f.Why, f.Set)
		}
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
	return b.String()
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n  ") + "\n"
}
