package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"halfopen/discover"
	"halfopen/report"
	"halfopen/timeline"
)

func newMerge() *cobra.Command {
	var output string
	var asText bool
	cmd := &cobra.Command{
		Use:   "merge RECORDING...",
		Short: "Put recordings of several hosts or runs into one, by time",
		Long: `merge reads several recordings and writes one, in which their records stand in the order of
time and each says where it comes from. "halfopen verdict" judges it like any other: with
the shipper's host and the receiver's in one recording it sees both sides of a connection.

Recordings of one host since one boot are ordered by its monotonic clock. Between hosts the
wall clocks decide, by the two clocks in each recording's header; merge says how far each
may be off. A host whose clock nothing kept right may be off by any time, and merge says
that.

RECORDING is a folder (all recordings in it), a prefix, or any file of a recording. The
recordings themselves are not changed.

Exit codes: 0 merged, 1 error, 2 usage.`,
		Example: `  halfopen merge shipper-host/ receiver-host/ --output both.jsonl && halfopen verdict both.jsonl
  halfopen merge --text evidence | less
  halfopen merge a/halfopen-nat-20260102-030405 b/halfopen-nat-20260102-030401 | jq -c .event`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("name the recordings to merge")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := openMerge(args, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer m.Close()
			describeMerge(cmd.ErrOrStderr(), m.Header)
			if output == "" {
				err = writeMerge(m, cmd.OutOrStdout(), asText)
			} else {
				err = saveMerge(m, output, asText)
			}
			if m.Gone > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%d recordings were removed meanwhile, and are left out\n", m.Gone)
			}
			return err
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVarP(&output, "output", "o", "", "write to this file, which must not exist; its name ends in .jsonl for \"verdict\"")
	cmd.Flags().BoolVar(&asText, "text", false, "write a line a record, for people")
	return cmd
}

func openMerge(args []string, stderr io.Writer) (*timeline.Merger, error) {
	var paths []string
	for _, arg := range args {
		if st, err := os.Stat(arg); err == nil && st.IsDir() {
			all, err := timeline.All(arg)
			if err != nil {
				return nil, err
			}
			for _, path := range all {
				if st, err := os.Stat(path); err == nil && st.Size() == 0 && len(all) > 1 {
					fmt.Fprintf(stderr, "halfopen: %q is left out: it is empty, its recorder was killed at once\n", path)
					continue
				}
				paths = append(paths, path)
			}
			continue
		}
		path, err := timeline.Find(arg)
		if err != nil {
			return nil, err
		}
		paths = append(paths, timeline.Parts(path)...)
	}
	m, err := timeline.Merge(paths)
	if err != nil {
		return nil, err
	}
	m.Header.Tool, m.Header.Command = "halfopen "+version, discover.Redact(os.Args)
	return m, nil
}

// describeMerge says how well the clocks of the sources agree.
func describeMerge(out io.Writer, h timeline.Header) {
	for i, s := range h.Merged {
		fmt.Fprintln(out, report.Plain(fmt.Sprintf("%d: %s, host %s: %s", i+1, s.Recording, s.Host, clockOf(h.Merged, i))))
	}
}

func clockOf(all []timeline.Source, i int) string {
	var b strings.Builder
	s := all[i]
	same := slices.IndexFunc(all[:i], func(o timeline.Source) bool { return o.BootID == s.BootID && s.BootID != "" })
	switch {
	case i == 0:
		b.WriteString("its monotonic clock counts")
	case same >= 0:
		fmt.Fprintf(&b, "the same monotonic clock as %d", same+1)
	default:
		fmt.Fprintf(&b, "%s was added to its monotonic clock", s.Offset)
	}
	switch {
	case s.Synchronised == nil:
		b.WriteString("; whether its wall clock was kept right is not known")
	case !*s.Synchronised:
		b.WriteString("; nothing kept its wall clock right: it may be off by any time")
	case s.ClockError != nil:
		fmt.Fprintf(&b, "; its wall clock was off by %s at most", *s.ClockError)
	}
	if s.WallOffset.Abs() > 50*time.Millisecond {
		fmt.Fprintf(&b, "; since the host's earlier recording its wall clock was set by %s", s.WallOffset)
	}
	return b.String()
}
