package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"halfopen/fault"
	"halfopen/timeline"
)

// windowFile is a name in the evidence folder that nothing has yet.
func (o *dropOptions) windowFile() (string, error) {
	if err := os.MkdirAll(o.evidence, 0o750); err != nil {
		return "", fmt.Errorf("make evidence folder: %w; name another with --evidence", err)
	}
	base := filepath.Join(o.evidence, timeline.Prefix(o.experiment, time.Now()))
	for n := 1; ; n++ {
		prefix := base
		if n > 1 {
			prefix = base + "-" + strconv.Itoa(n)
		}
		if _, err := os.Stat(prefix + timeline.Suffix); err == nil {
			continue // it is a recording's own
		}
		f, err := os.OpenFile(prefix+"-drop-window.txt", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("write drop window: %w; name a folder you may write to with --evidence", err)
		}
		return f.Name(), f.Close()
	}
}

func (d *dropping) write() error {
	text, err := d.fault.Window(d.opts.method).MarshalText()
	if err != nil {
		return err
	}
	err = timeline.WriteWhole(d.file, func(to io.Writer) error {
		_, err := to.Write(text)
		return err
	})
	if err != nil {
		return fmt.Errorf("write drop window: %w", err)
	}
	return nil
}

// conclude completes the drop window and says what it tells.
func (d *dropping) conclude(err error, stdout io.Writer) error {
	w := d.fault.Window(d.opts.method)
	start, cut := w.Start()
	if !cut {
		return errors.Join(err, os.Remove(d.file))
	}
	if err = errors.Join(err, d.write()); err != nil {
		return err
	}
	var met uint64
	for _, c := range w.Counters {
		met += c.Packets
	}
	if h := w.Withheld; h != nil {
		met += h.Acks + h.Toward + h.From
	}
	end, _ := w.End()
	fmt.Fprintf(stdout, "%s to %s: %s\n%s\n", start.Format(time.RFC3339Nano), end.Format(time.RFC3339Nano), summary(w), d.file)
	if met == 0 && w.Withheld != nil {
		fmt.Fprintln(d.out, "nothing was met: nothing was sent through the proxy meanwhile")
		return codeError(exitInconclusive)
	}
	if met == 0 {
		fmt.Fprintln(d.out, "not one packet was met: is the port right, and does the traffic pass here (--hook, --interface, --container)?")
		return codeError(exitInconclusive)
	}
	return nil
}

func summary(w fault.Window) string {
	var parts []string
	for _, s := range w.Steps {
		if len(s.Rules) == 0 || s.Name == fault.StepProxy || s.Name == fault.StepAck0 {
			continue
		}
		toward, tb := w.Dropped(s.Name, fault.Toward)
		from, fb := w.Dropped(s.Name, fault.From)
		parts = append(parts, fmt.Sprintf("%s met %d packets (%d bytes) to the port and %d (%d bytes) from it", s.Name, toward, tb, from, fb))
	}
	if h := w.Withheld; h != nil && len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("the proxy withheld %d bytes to the port and %d from it, and told ACK 0 %s", h.Toward, h.From, plural(int(h.Acks), "time")))
	}
	return strings.Join(parts, "; ")
}
