package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"halfopen/clock"
	"halfopen/collect"
	"halfopen/timeline"
)

// Environment variables that record hands to the experiment's command.
const (
	envSocket   = "HALFOPEN_SOCKET"   // where the recorder takes marks
	envEvidence = "HALFOPEN_EVIDENCE" // folder of the recording
	envPrefix   = "HALFOPEN_PREFIX"   // what the paths of its files begin with
)

func newMark() *cobra.Command {
	var start, end bool
	var note, evidence string
	cmd := &cobra.Command{
		Use:   "mark [TEXT]",
		Short: "Put a remark into the recording that is being made",
		Long: `mark tells the running recorder something, with the time at which mark was called: what the
experiment does next, or, with --drop-start and --drop-end, that packets are dropped from
now on and no longer. The verdict takes the cut from those where halfopen did not make it
itself, and they are written to the recording's drop-window.txt.

It finds the only recorder of this host that runs under the same user, or the one that
"halfopen record -- COMMAND" started the caller from. Where there are several, --evidence
says which.

Exit codes: 0 the mark is in the recording, 1 it is not, 2 usage.`,
		Example: `  halfopen mark "firewall patched"
  halfopen mark --drop-start && iptables -I FORWARD -p tcp --dport 5044 -j DROP
  iptables -D FORWARD -p tcp --dport 5044 -j DROP && halfopen mark --drop-end --note "rule removed"
  halfopen mark --evidence /var/tmp/evidence "second try"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("unexpected argument %q: put the text in quotes", args[1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r := collect.Remark{Called: time.Now(), CalledMono: clock.Mono(), Text: note}
			switch {
			case start && end:
				return usage("--drop-start and --drop-end contradict each other: give one")
			case len(args) == 1 && note != "":
				return usage("the text is given twice, as an argument and by --note")
			case len(args) == 1:
				r.Text = args[0]
			}
			switch r.Text = strings.TrimSpace(r.Text); {
			case start:
				r.Drop = timeline.DropStart
			case end:
				r.Drop = timeline.DropEnd
			case r.Text == "":
				return usage("there is nothing to mark: give a text, --drop-start or --drop-end")
			}
			got, err := sendMark(r, evidence)
			if err != nil {
				return err
			}
			if got.Note != "" {
				fmt.Fprintf(cmd.ErrOrStderr(), "halfopen: %s: the mark is record %d of %s all the same\n", got.Note, got.Record, got.Recording)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&start, "drop-start", false, "packets are dropped from now on")
	f.BoolVar(&end, "drop-end", false, "packets are no longer dropped")
	f.StringVar(&note, "note", "", "the text, where it is not an argument")
	f.StringVar(&evidence, "evidence", "", "folder or prefix of the recording, where several are being made")
	return cmd
}

// openMarks lets a recording take marks. It goes on without where it can't.
func openMarks(rec *collect.Recorder, windows bool, warn io.Writer) (sources []collect.Source, socket string) {
	m, err := collect.OpenMarks(rec, windows)
	if err != nil {
		rec.Fail("marks", 0, err)
		fmt.Fprintf(warn, "halfopen: \"halfopen mark\" can't be used: %v\n", err)
		return nil, ""
	}
	return []collect.Source{m}, m.Path()
}

func sendMark(r collect.Remark, evidence string) (collect.Receipt, error) {
	if socket := os.Getenv(envSocket); socket != "" && evidence == "" {
		return collect.Send(socket, r)
	}
	found, err := collect.FindRecorders(evidence)
	switch {
	case err != nil:
		return collect.Receipt{}, err
	case len(found) == 0 && evidence != "":
		return collect.Receipt{}, fmt.Errorf("%w in %q: start one with \"halfopen record --evidence %s\"", collect.ErrNoRecorder, evidence, evidence)
	case len(found) == 0:
		return collect.Receipt{}, fmt.Errorf("%w of this user: start one with \"halfopen record\", or name its folder with --evidence", collect.ErrNoRecorder)
	case len(found) > 1:
		for i, path := range found {
			found[i] = "  --evidence " + collect.RecordingOf(path)
		}
		return collect.Receipt{}, fmt.Errorf("%d recorders run: name one\n%s", len(found), strings.Join(found, "\n"))
	}
	got, err := collect.Send(found[0], r)
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("%w: the recorder is another user's, root's perhaps: mark as that user, or with sudo", err)
	}
	return got, err
}
