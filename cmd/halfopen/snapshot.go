package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"halfopen/flow"
	"halfopen/report"
	"halfopen/sockstate"
	"halfopen/verdict"
)

func newSnapshot() *cobra.Command {
	var (
		ports  portFlag
		where  placeFlags
		over   time.Duration
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Count the connections of a port by state, with the trend",
		Long: `snapshot looks at the sockets of a port twice, a second apart, and shows how many are in
each state, how full the listener's accept queue is, and which of the kernel's counters
for dropped connections and retransmissions grew meanwhile. Ctrl-C brings the second look
forward.

It needs no rights for the namespace it runs in. Another one is named by --pid,
--container or --netns.`,
		Example: `  halfopen snapshot                                # port 5044, this namespace
  halfopen snapshot --port 24224 --port 5044
  sudo halfopen snapshot --container logstash --over 10s
  halfopen snapshot --json | jq '.last.ports[0].server.CLOSE_WAIT'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if over < 0 || over > time.Hour {
				return usage("--over %s: want 0s to 1h", over)
			}
			ports.hint(cmd.ErrOrStderr())
			v, err := where.open(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer v.close()
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			s, err := v.looks(ctx, ports.set(), over, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return s.print(cmd.OutOrStdout(), asJSON)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Var(&ports, "port", "port to count on; repeats")
	where.add(f)
	f.DurationVar(&over, "over", time.Second, "time between the two looks; 0s: one look, no trend")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// snapshot is one or two looks at a place.
type snapshot struct {
	Place   string             `json:"place"`
	First   *verdict.Look      `json:"first,omitempty"`
	Last    *verdict.Look      `json:"last"`
	Sysctls *sockstate.Sysctls `json:"sysctls,omitempty"`
}

func (s snapshot) print(out io.Writer, asJSON bool) error {
	head := s.Place
	if s.First != nil {
		head += fmt.Sprintf(", two looks %s apart", s.Last.Time.Sub(s.First.Time).Round(100*time.Millisecond))
	}
	text := append([]byte(head+"\n\n"), report.Look(s.First, s.Last, s.Sysctls)...)
	if asJSON {
		var err error
		if text, err = report.JSON(s); err != nil {
			return err
		}
	}
	if _, err := out.Write(text); err != nil {
		return fmt.Errorf("print snapshot: %w", err)
	}
	return nil
}

// unasked is how long nobody asks what a program is waiting for.
const unasked = 3 * time.Second

func (v *view) looks(ctx context.Context, ports flow.Ports, over time.Duration, stderr io.Writer) (snapshot, error) {
	s := snapshot{Place: v.name}
	if v.entered() {
		if sys, err := sockstate.ReadSysctls(v.ns); err == nil {
			s.Sysctls = &sys
		}
	}
	last, err := v.look(ports)
	if err != nil || over == 0 {
		s.Last = &last
		return s, err
	}
	if over > unasked {
		fmt.Fprintf(stderr, "halfopen: looked once; the second look is in %s, or at Ctrl-C\n", over)
	}
	_ = wait(ctx, over) // ended early, it shows what changed until then
	first := last
	last, err = v.look(ports)
	s.First, s.Last = &first, &last
	return s, err
}

func (v *view) look(ports flow.Ports) (verdict.Look, error) {
	socks, via, err := v.sockets(ports)
	if err != nil {
		return verdict.Look{}, err
	}
	l := verdict.Look{Time: time.Now().UTC(), Via: via, Ports: sockstate.Count(socks, ports)}
	if c, err := sockstate.ReadCounters(v.root); err == nil {
		l.Counters = &c
	}
	return l, nil
}
