package report

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"halfopen/verdict"
)

// The grammar of the Monitoring Plugins Development Guidelines: the first line, and
// each of the performance data.
var (
	pluginLine = regexp.MustCompile(`^HALFOPEN (OK|WARNING|CRITICAL|UNKNOWN) - ([^|\n]+?)(?: \| ([^|\n]+))?$`)
	perfDatum  = regexp.MustCompile(`^'([^'=]+)'=(-?[0-9]+(?:\.[0-9]+)?|U)(|s|us|ms|%|B|KB|MB|GB|TB|c);((?:@?(?:~|-?[0-9.]+)?:?)?(?:-?[0-9.]+)?);((?:@?(?:~|-?[0-9.]+)?:?)?(?:-?[0-9.]+)?);(-?[0-9.]*);(-?[0-9.]*)$`)
)

// parsed reads what a plugin printed, and fails where it breaks the grammar.
func parsed(t *testing.T, out []byte) (status, text string, perf map[string]string) {
	t.Helper()
	if len(out) > 4096 || !strings.HasSuffix(string(out), "\n") {
		t.Errorf("%d bytes, the last %q", len(out), out[len(out)-1:])
	}
	first, rest, _ := strings.Cut(string(out), "\n")
	if strings.Contains(rest, "|") {
		t.Errorf("what follows the first line begins performance data:\n%s", rest)
	}
	m := pluginLine.FindStringSubmatch(first)
	if m == nil {
		t.Fatalf("no plugin's line: %q", first)
	}
	perf = map[string]string{}
	for _, d := range strings.Fields(m[3]) {
		p := perfDatum.FindStringSubmatch(d)
		if p == nil {
			t.Fatalf("no performance datum: %q", d)
		}
		perf[p[1]] = p[2] + p[3]
	}
	return m[1], m[2], perf
}

func span(d time.Duration) *time.Duration { return &d }

func TestPlugin(t *testing.T) {
	limits := Limits{Warning: 10 * time.Second, Critical: 30 * time.Second}
	n := int64(551)
	ship := func(h verdict.Health, stood *time.Duration) verdict.ShipperCheck {
		return verdict.ShipperCheck{Name: "filebeat", Health: h, Why: "802 bytes | in\nflight", Stood: stood, Unacked: 802,
			Count: map[verdict.Health]int{h: 2}, Counters: &verdict.CountersCheck{Pending: &n}, Notes: []string{"a | b"}}
	}
	for name, c := range map[string]struct {
		is   []verdict.ShipperCheck
		part []string
		want Status
	}{
		"healthy":                   {is: []verdict.ShipperCheck{ship(verdict.Healthy, nil)}, want: PluginOK},
		"idle":                      {is: []verdict.ShipperCheck{ship(verdict.Idle, nil)}, want: PluginOK},
		"stalled for long":          {is: []verdict.ShipperCheck{ship(verdict.Stuck, span(44200*time.Millisecond))}, want: PluginCritical},
		"stalled, below critical":   {is: []verdict.ShipperCheck{ship(verdict.Stuck, span(12*time.Second))}, want: PluginWarning},
		"stalled, at critical":      {is: []verdict.ShipperCheck{ship(verdict.Stuck, span(30*time.Second))}, want: PluginWarning},
		"stalled, not yet a matter": {is: []verdict.ShipperCheck{ship(verdict.Stuck, span(10*time.Second))}, want: PluginOK},
		"stalled, since when?":      {is: []verdict.ShipperCheck{ship(verdict.Stuck, nil)}, want: PluginCritical},
		"unknown":                   {is: []verdict.ShipperCheck{ship(verdict.Untold, nil), ship(verdict.Healthy, nil)}, want: PluginUnknown},
		"unknown, and a warning":    {is: []verdict.ShipperCheck{ship(verdict.Untold, nil), ship(verdict.Stuck, span(12*time.Second))}, want: PluginWarning},
		"unknown, acks stand":       {is: []verdict.ShipperCheck{ship(verdict.Untold, span(12*time.Second))}, want: PluginWarning},
		"partial":                   {is: []verdict.ShipperCheck{ship(verdict.Healthy, nil)}, part: []string{"time ran out"}, want: PluginUnknown},
		"partial, and proven":       {is: []verdict.ShipperCheck{ship(verdict.Stuck, span(time.Minute))}, part: []string{"time ran out"}, want: PluginCritical},
		"stalled for 2s, and another since when?": {is: []verdict.ShipperCheck{func() verdict.ShipperCheck {
			s := ship(verdict.Stuck, span(2*time.Second))
			s.Connections = []verdict.ConnCheck{{Health: verdict.Stuck, Stood: span(2 * time.Second)}, {Health: verdict.Stuck}}
			return s
		}()}, want: PluginCritical},
		"stalled, not yet a matter, and an unknown one": {is: []verdict.ShipperCheck{func() verdict.ShipperCheck {
			s := ship(verdict.Stuck, span(2*time.Second))
			s.Count[verdict.Untold] = 1
			return s
		}()}, want: PluginUnknown},
		"nothing": {want: PluginUnknown},
	} {
		check := verdict.Checkup{Health: verdict.Healthy, Summary: "filebeat: 802 bytes | in\nflight \x1b[31m", Shippers: c.is, Partial: c.part}
		out, got := Plugin(check, limits)
		status, text, perf := parsed(t, out)
		if got != c.want || status != c.want.String() {
			t.Errorf("%s: %s, %q; want %s", name, got, status, c.want)
		}
		if len(c.part) > 0 && !strings.Contains(text, "time ran out") {
			t.Errorf("%s: partial, and not marked: %q", name, text)
		}
		if name == "stalled for long" && (perf["acks_stood"] != "44.2s" || perf["pending"] != "551" || perf["unacked"] != "802B" || perf["stalled"] != "2" ||
			!strings.Contains(string(out), "'acks_stood'=44.2s;10;30;0;")) {
			t.Errorf("%s: %v in %s", name, perf, out)
		}
	}
}

// What is not known is no zero, and a sum is known where all its parts are.
func TestPluginUnmeasured(t *testing.T) {
	n := int64(5)
	ship := func(stood *time.Duration, h verdict.Health) verdict.ShipperCheck {
		return verdict.ShipperCheck{Name: "filebeat", Health: h, Stood: stood, Count: map[verdict.Health]int{h: 1}, Unacked: 7,
			Counters: &verdict.CountersCheck{Pending: &n}, Connections: []verdict.ConnCheck{{Health: h, Stood: stood}}}
	}
	unconnected := ship(nil, verdict.Idle)
	unconnected.Count, unconnected.Connections = map[verdict.Health]int{}, nil
	blind := verdict.ShipperCheck{Name: "other", Health: verdict.Untold, Counters: &verdict.CountersCheck{Pending: &n}}
	mute := ship(nil, verdict.Healthy)
	mute.Counters = nil
	late := ship(span(2*time.Second), verdict.Stuck)
	late.Connections = append(late.Connections, verdict.ConnCheck{Health: verdict.Stuck})
	for name, c := range map[string]struct {
		is                                                   []verdict.ShipperCheck
		stood, connections, stalled, unknown, pending, bytes string
	}{
		"all known":            {[]verdict.ShipperCheck{ship(nil, verdict.Healthy), ship(span(time.Second), verdict.Healthy)}, "1s", "2", "0", "0", "10", "14B"},
		"no connection":        {[]verdict.ShipperCheck{unconnected}, "0s", "0", "0", "0", "5", "7B"},
		"nothing":              {nil, "U", "U", "U", "U", "U", "U"},
		"blind":                {[]verdict.ShipperCheck{blind}, "U", "U", "U", "U", "5", "U"},
		"one blind":            {[]verdict.ShipperCheck{ship(nil, verdict.Healthy), blind}, "U", "U", "U", "U", "10", "U"},
		"one blind, one stuck": {[]verdict.ShipperCheck{ship(span(time.Minute), verdict.Stuck), blind}, "60s", "U", "U", "U", "10", "U"},
		"one uncounted":        {[]verdict.ShipperCheck{mute, ship(nil, verdict.Healthy)}, "0s", "2", "0", "0", "U", "14B"},
		"one uncounted, last":  {[]verdict.ShipperCheck{ship(nil, verdict.Healthy), mute}, "0s", "2", "0", "0", "U", "14B"},
		"untold":               {[]verdict.ShipperCheck{ship(nil, verdict.Untold)}, "U", "1", "0", "1", "5", "7B"},
		"since when":           {[]verdict.ShipperCheck{ship(nil, verdict.Stuck)}, "U", "1", "1", "0", "5", "7B"},
		"since when, and 2s":   {[]verdict.ShipperCheck{late}, "2s", "1", "1", "0", "5", "7B"},
	} {
		out, _ := Plugin(verdict.Checkup{Summary: name, Shippers: c.is}, Limits{})
		_, _, got := parsed(t, out)
		want := map[string]string{"acks_stood": c.stood, "connections": c.connections, "stalled": c.stalled, "unknown": c.unknown, "pending": c.pending, "unacked": c.bytes}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// However much there is to say, the first line is whole.
func TestPluginBounded(t *testing.T) {
	s := verdict.ShipperCheck{Name: "filebeat", Health: verdict.Untold, Why: strings.Repeat("日", 3000)}
	for range 200 {
		s.Notes = append(s.Notes, strings.Repeat("x", 100))
	}
	out, _ := Plugin(verdict.Checkup{Summary: strings.Repeat("日", 3000), Shippers: []verdict.ShipperCheck{s}}, Limits{})
	if status, _, perf := parsed(t, out); status != "UNKNOWN" || len(perf) != 6 || strings.ToValidUTF8(string(out), "?") != string(out) {
		t.Errorf("%s, %v in %s", status, perf, out)
	}
	if status, text, _ := parsed(t, PluginError(errors.New("watch --pid 1:\nno | process"))); status != "UNKNOWN" || text != "watch --pid 1:; no / process" {
		t.Errorf("%s, %q", status, text)
	}
}
