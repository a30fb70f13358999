package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"halfopen/verdict"
)

// Status is what a monitoring plugin answers: its exit code, too.
type Status int

// The states of the Monitoring Plugins Development Guidelines.
const (
	PluginOK Status = iota
	PluginWarning
	PluginCritical
	PluginUnknown
)

var statusNames = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

func (s Status) String() string { return statusNames[s] }

// Limits are the plugin's thresholds on how long acks stand still: at more than
// one of them it warns, or is critical.
type Limits struct{ Warning, Critical time.Duration }

// PluginStatus is the worst of what the shippers are; proof comes before doubt.
func PluginStatus(c verdict.Checkup, l Limits) Status {
	doubt, worst := len(c.Partial) > 0 || len(c.Shippers) == 0, PluginOK
	for _, s := range c.Shippers {
		switch {
		case s.Stood != nil && *s.Stood > l.Critical, stuckSinceWhen(s):
			worst = PluginCritical
		case s.Stood != nil && *s.Stood > l.Warning:
			worst = max(worst, PluginWarning)
		case s.Health == verdict.Untold, s.Count[verdict.Untold] > 0:
			doubt = true
		}
	}
	if worst == PluginOK && doubt {
		return PluginUnknown
	}
	return worst
}

// stuckSinceWhen reports whether a connection of a shipper has stalled and nobody
// knows for how long; how long others wait says nothing of it.
func stuckSinceWhen(s verdict.ShipperCheck) bool {
	for _, c := range s.Connections {
		if c.Health == verdict.Stuck && c.Stood == nil {
			return true
		}
	}
	return s.Health == verdict.Stuck && s.Stood == nil
}

// maxPlugin is what a plugin may print: Nagios reads 4 KiB, and cuts the rest.
const maxPlugin = 4000

// Plugin is a checkup as a monitoring plugin prints it: a line of text and
// performance data, then the whole report.
func Plugin(c verdict.Checkup, l Limits) ([]byte, Status) {
	status := PluginStatus(c, l)
	head := c.Summary
	if len(c.Partial) > 0 {
		head = "partial: " + c.Partial[0] + "; " + head
	}
	first := fmt.Sprintf("HALFOPEN %s - %s | %s\n", status, pluginText(head, 1500), perfdata(c, l))
	rest := strings.ReplaceAll(string(Check(c)), "|", "/")
	return []byte(first + strings.TrimSuffix(cut(rest, maxPlugin-len(first)), "\n") + "\n"), status
}

// PluginError is what a plugin prints that could not look.
func PluginError(err error) []byte {
	return fmt.Appendf(nil, "HALFOPEN %s - %s\n", PluginUnknown, pluginText(err.Error(), 1500))
}

// pluginText is one line without the sign that begins performance data.
func pluginText(s string, most int) string {
	s = strings.NewReplacer("|", "/", "\n", "; ").Replace(Plain(s))
	return cut(s, most)
}

// cut shortens a text to so many bytes.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	const more = "…"
	return strings.ToValidUTF8(s[:max(most-len(more), 0)], "") + more
}

// unmeasured is a number that nobody knows.
const unmeasured = "U"

// perfdata are the numbers of all shippers together:
// 'label'=value[UOM];[warn];[crit];[min];[max]. A sum is known where all its parts
// are. The longest that acks stand is known, at least, where they do; that they do
// not, only where all is known.
func perfdata(c verdict.Checkup, l Limits) string {
	var stood time.Duration
	var count [3]int // all, stalled, unknown
	var unacked uint64
	var pending int64
	seen, told, waits := len(c.Shippers) > 0, len(c.Shippers) > 0, len(c.Shippers) > 0
	for _, s := range c.Shippers {
		seen = seen && s.Count != nil
		told = told && s.Count != nil && !untimed(s)
		if s.Stood != nil {
			stood = max(stood, *s.Stood)
		}
		for h, n := range s.Count {
			count[0] += n
			switch h {
			case verdict.Stuck:
				count[1] += n
			case verdict.Untold:
				count[2] += n
			}
		}
		unacked += s.Unacked
		if waits = waits && s.Counters != nil && s.Counters.Pending != nil; waits {
			pending += *s.Counters.Pending
		}
	}
	known := func(yes bool, value string) string {
		if !yes {
			return unmeasured
		}
		return value
	}
	return fmt.Sprintf("'acks_stood'=%s;%s;%s;0; 'connections'=%s;;;0; 'stalled'=%s;;;0; 'unknown'=%s;;;0; 'pending'=%s;;;0; 'unacked'=%s;;;0;",
		known(told || stood > 0, seconds(stood)+"s"), seconds(l.Warning), seconds(l.Critical), known(seen, strconv.Itoa(count[0])), known(seen, strconv.Itoa(count[1])),
		known(seen, strconv.Itoa(count[2])), known(waits, strconv.FormatInt(pending, 10)), known(seen, strconv.FormatUint(unacked, 10)+"B"))
}

// untimed reports whether something of a shipper may wait, and nobody knows for how
// long.
func untimed(s verdict.ShipperCheck) bool {
	for _, c := range s.Connections {
		if (c.Health == verdict.Stuck || c.Health == verdict.Untold) && c.Stood == nil {
			return true
		}
	}
	return (s.Health == verdict.Stuck || s.Health == verdict.Untold) && s.Stood == nil
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Round(time.Millisecond).Seconds(), 'f', -1, 64)
}
