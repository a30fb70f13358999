package main

import (
	"encoding/json"
	"errors"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/report"
	"halfopen/verdict"
)

// What the first words of an answer say is what its exit code says.
var headlines = map[string]int{
	"STALLED": exitStalled, "UNKNOWN": exitInconclusive, "HEALTHY": exitOK, "IDLE": exitOK,
	"REPRODUCED": exitStalled, "INCONCLUSIVE": exitInconclusive, "RECOVERED": exitOK, "NOT STALLED": exitOK,
}

func headline(text []byte) string {
	first, _, _ := strings.Cut(string(text), "\n")
	return first
}

// A checkup of every health, with something missing and without, in every form.
func TestCheckHeadlines(t *testing.T) {
	limits := report.Limits{Warning: time.Second, Critical: time.Minute}
	stood := 2 * time.Minute
	for _, h := range []verdict.Health{verdict.Stuck, verdict.Untold, verdict.Healthy, verdict.Idle} {
		for missing := range 3 {
			c := verdict.Checkup{Health: h, Shippers: []verdict.ShipperCheck{{Name: "filebeat", Health: h, Count: map[verdict.Health]int{h: 1}}}}
			if h == verdict.Stuck {
				c.Shippers[0].Stood = &stood
			}
			for range missing {
				c.Miss("the counters of filebeat")
			}
			code := exitInconclusive
			switch {
			case h == verdict.Stuck:
				code = exitStalled
			case h != verdict.Untold && missing == 0:
				code = exitOK
			}
			if says, ok := headlines[headline(report.Check(c))]; !ok || says != code || checkupCode(c) != code {
				t.Errorf("%s, %d missing: exit code %d, want %d, of\n%s", h, missing, checkupCode(c), code, report.Check(c))
			}
			var back verdict.Checkup
			if text, err := report.JSON(c); err != nil || json.Unmarshal(text, &back) != nil || checkupCode(back) != code || len(back.Partial) != missing ||
				strings.HasPrefix(back.Summary, "not all was looked at; ") != (missing > 0) {
				t.Errorf("%s, %d missing: %v, %s", h, missing, err, text)
			}
			text, status := report.Plugin(c, limits)
			want := map[int]report.Status{exitOK: report.PluginOK, exitStalled: report.PluginCritical, exitInconclusive: report.PluginUnknown}[code]
			if status != want || !strings.HasPrefix(string(text), "HALFOPEN "+want.String()+" - ") {
				t.Errorf("%s, %d missing: %s\n%s", h, missing, status, text)
			}
		}
	}
}

// A verdict of every kind, and of several shippers together.
func TestVerdictHeadlines(t *testing.T) {
	for _, kind := range []string{verdict.Reproduced, verdict.Recovered, verdict.Stalled, verdict.NotStalled, verdict.Inconclusive} {
		v := verdict.Verdict{Verdict: kind}
		code := exitOK
		if answered := codeError(0); errors.As(answer(v), &answered) {
			code = int(answered)
		}
		if want, ok := headlines[headline(report.Text(v))]; !ok || code != want {
			t.Errorf("%s: exit code %d", headline(report.Text(v)), code)
		}
	}
}

// An endpoint that accepts and never answers: the connection is well, and what the
// shipper holds is not known.
func TestCheckHungEndpointHeadline(t *testing.T) {
	t.Parallel()
	p := newBedPair(t)
	p.chatter()
	var hung net.Listener // its kernel connects, and nobody answers
	err := p.bed.Shipper.Do(func() (err error) {
		hung, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	for form, says := range map[string]string{"": "UNKNOWN\n", "--json": `"health": "unknown"`, "--plugin": "HALFOPEN UNKNOWN - partial: "} {
		args := []string{"check", "--netns", nsPath(p.bed.Shipper), "--port", "5044", "--over", "100ms", "--timeout", "1m", "--stats", hung.Addr().String()}
		cmd := exec.Command(binary, slices.DeleteFunc(append(args, form), func(a string) bool { return a == "" })...)
		out, _ := cmd.Output()
		want := exitInconclusive
		if form == "--plugin" {
			want = int(report.PluginUnknown)
		}
		if code := cmd.ProcessState.ExitCode(); code != want || !strings.Contains(string(out), says) || !strings.Contains(string(out), "healthy") {
			t.Errorf("%q: exit code %d, want %d and %q in\n%s", form, code, want, says, out)
		}
	}
}
