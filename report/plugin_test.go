package report

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

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
		"nothing":                   {want: PluginUnknown},
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
		if name == "nothing" && perf["pending"] != "U" {
			t.Errorf("%s: pending %q, which nobody knows", name, perf["pending"])
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
