package fault

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"halfopen/flow"
	"halfopen/middlebox"
)

// ParseWindow reads what MarshalText wrote. Empty lines, lines that begin with #
// and space at the end of lines don't matter; all else must be there and agree:
// a file that was cut short, or changed by hand in one of two places that say
// the same, is refused with the line in question.
func ParseWindow(r io.Reader) (Window, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return Window{}, fmt.Errorf("read drop window: %w", err)
	}
	lines := significant(string(text))
	if len(lines) == 0 || lines[0].text != header {
		return Window{}, fmt.Errorf("parse drop window: it does not begin with %q, the only format that is known", header)
	}
	var w Window
	for _, l := range lines[1:] {
		if err := w.parseLine(l.text); err != nil {
			return Window{}, fmt.Errorf("parse drop window, line %d %q: %w", l.n, l.text, err)
		}
	}
	whole, err := w.MarshalText()
	if err != nil {
		return Window{}, fmt.Errorf("parse drop window: %w", err)
	}
	want := significant(string(whole))
	for i, l := range lines {
		if i == len(want) {
			return Window{}, fmt.Errorf("parse drop window, line %d %q: not expected", l.n, l.text)
		}
		if l.text != want[i].text {
			return Window{}, fmt.Errorf("parse drop window, line %d %q: the other lines ask for %q here", l.n, l.text, want[i].text)
		}
	}
	if len(lines) < len(want) {
		return Window{}, fmt.Errorf("parse drop window: it ends before %q", want[len(lines)].text)
	}
	return w, nil
}

type line struct {
	n    int // from 1
	text string
}

// significant leaves out what is only for the eye.
func significant(text string) []line {
	var lines []line
	n := 0
	for l := range strings.Lines(text) {
		n++
		l = strings.TrimRightFunc(l, unicode.IsSpace)
		if l != "" && !strings.HasPrefix(l, "#") {
			lines = append(lines, line{n, l})
		}
	}
	return lines
}

// parseLine takes what the line tells. Lines that follow from others, and keys
// that it does not know, are left to the comparison at the end.
func (w *Window) parseLine(text string) (err error) {
	key, value, ok := strings.Cut(text, ": ")
	if !ok {
		return fmt.Errorf("want \"key: value\"")
	}
	switch key {
	case "method":
		w.Method = value
	case "netns":
		w.Netns, err = strconv.ParseUint(value, 10, 64)
	case "table":
		w.Table = value
	case "ports":
		w.Ports, err = parsePorts(value)
	case "setup":
		w.Setup = append(w.Setup, value)
	case "withheld":
		w.Withheld = &Withheld{}
		_, err = fmt.Sscanf(value, "%d bytes toward, %d bytes from, %d ACKs of sequence 0 told instead", &w.Withheld.Toward, &w.Withheld.From, &w.Withheld.Acks)
	case "counters-read":
		w.Read, err = time.Parse(timeLayout, value)
	case "counters-error":
		w.Error = value
	case "step":
		w.Steps = append(w.Steps, Step{Name: value})
	case "known", "mono", "took", "changed", "deleted-entry", "rule", "dropped", "first", "last":
		if len(w.Steps) == 0 {
			return fmt.Errorf("it comes before the first step")
		}
		return w.parseStep(&w.Steps[len(w.Steps)-1], key, value)
	}
	return err
}

func (w *Window) parseStep(s *Step, key, value string) (err error) {
	switch key {
	case "known":
		return s.parseKnown(value)
	case "mono":
		s.Mono, err = time.ParseDuration(value)
	case "took":
		s.Took, err = time.ParseDuration(value)
	case "changed":
		s.Changed = value
	case "deleted-entry":
		var e middlebox.Entry
		err = json.Unmarshal([]byte(value), &e)
		s.Deleted = append(s.Deleted, e)
	case "rule":
		s.Rules = append(s.Rules, value)
	case "dropped":
		if len(s.Rules) == 0 {
			return fmt.Errorf("it comes before the step's first rule")
		}
		c := Counter{Rule: s.Rules[len(s.Rules)-1], Step: s.Name}
		_, err = fmt.Sscanf(value, "%s %d packets, %d bytes", &c.Direction, &c.Packets, &c.Bytes)
		w.Counters = append(w.Counters, c)
	case "first", "last":
		if len(w.Counters) == 0 {
			return fmt.Errorf("it comes before the first counter")
		}
		return w.Counters[len(w.Counters)-1].parseSeen(key, value)
	}
	return err
}

func (c *Counter) parseSeen(key, value string) (err error) {
	s := &c.First
	if key == "last" {
		s = &c.Last
	}
	_, s.After, s.By, err = parseBetween(" " + value)
	return err
}

func (s *Step) parseKnown(value string) (err error) {
	s.Known, s.Start, s.End, err = parseBetween(value)
	return err
}

// parseBetween reads "… between TIME and TIME".
func parseBetween(value string) (what string, from, to time.Time, err error) {
	i := strings.LastIndex(value, " between ")
	start, end, ok := strings.Cut(value[max(i, 0):], " and ")
	if i < 0 || !ok {
		return "", from, to, fmt.Errorf("want \"… between TIME and TIME\"")
	}
	if from, err = time.Parse(timeLayout, strings.TrimPrefix(start, " between ")); err != nil {
		return "", from, to, err
	}
	to, err = time.Parse(timeLayout, end)
	return value[:i], from, to, err
}

func parsePorts(value string) (flow.Ports, error) {
	var ports []uint16
	for field := range strings.FieldsSeq(value) {
		p, err := flow.ParsePort(field)
		if err != nil {
			return nil, err
		}
		ports = append(ports, p)
	}
	if set := flow.NewPorts(ports...); !slices.Equal(set, ports) {
		return nil, fmt.Errorf("ports are not in order: want %v", set)
	}
	return ports, nil
}
