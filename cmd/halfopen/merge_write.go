package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"halfopen/report"
	"halfopen/timeline"
)

// saveMerge writes a file as a whole or not at all.
func saveMerge(m *timeline.Merger, path string, asText bool) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%q is there already: name another file", path)
	}
	if err := timeline.WriteWhole(path, func(to io.Writer) error { return writeMerge(m, to, asText) }); err != nil {
		return fmt.Errorf("write merged recording %q: %w", path, err)
	}
	return nil
}

func writeMerge(m *timeline.Merger, to io.Writer, asText bool) error {
	out := bufio.NewWriterSize(to, 256<<10)
	var line []byte
	var first timeline.Record
	for {
		r, err := m.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if first.N == 0 {
			first = r
		}
		if asText {
			line = append(line[:0], textLine(first, r)...)
		} else if line, err = timeline.AppendLine(line[:0], r); err != nil {
			return err
		}
		if _, err := out.Write(line); err != nil {
			return fmt.Errorf("write merged recording: %w", err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write merged recording: %w", err)
	}
	return nil
}

// textLine shows a record: when by the clock of the first source, where it comes
// from, and what it says.
func textLine(first, r timeline.Record) string {
	const most = 160 // characters of the body
	from := "merged"
	if r.Source > 0 {
		from = fmt.Sprintf("%d#%d", r.Source, r.SourceN)
	}
	body, err := json.Marshal(r.Body)
	if err != nil {
		body = []byte(err.Error())
	}
	if u := r.Unknown; u != nil {
		body = fmt.Appendf(nil, "{%q:%s}", u.Kind, u.Raw)
	}
	text := []rune(string(body))
	if len(text) > most {
		text = append(text[:most], '…')
	}
	return report.Plain(fmt.Sprintf("%s %-8s %s", first.Time.UTC().Add(r.Mono-first.Mono).Format("2006-01-02T15:04:05.000000Z"), from, string(text))) + "\n"
}
