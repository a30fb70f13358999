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
		case s.Stood != nil && *s.Stood > l.Critical, s.Health == verdict.Stuck && s.Stood == nil:
			worst = PluginCritical
		case s.Stood != nil && *s.Stood > l.Warning:
			worst = max(worst, PluginWarning)
		case s.Health == verdict.Untold:
			doubt = true
		}
	}
	if worst == PluginOK && doubt {
		return PluginUnknown
	}
	return worst
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

// perfdata are the numbers of all shippers together:
// 'label'=value[UOM];[warn];[crit];[min];[max]. What is not known is U.
func perfdata(c verdict.Checkup, l Limits) string {
	var stood time.Duration
	count := map[verdict.Health]int{}
	var unacked uint64
	var pending *int64
	for _, s := range c.Shippers {
		if s.Stood != nil {
			stood = max(stood, *s.Stood)
		}
		for h, n := range s.Count {
			count[h] += n
		}
		unacked += s.Unacked
		if s.Counters != nil && s.Counters.Pending != nil {
			sum := *s.Counters.Pending
			if pending != nil {
				sum += *pending
			}
			pending = &sum
		}
	}
	waits := "U"
	if pending != nil {
		waits = strconv.FormatInt(*pending, 10)
	}
	all := 0
	for _, n := range count {
		all += n
	}
	return fmt.Sprintf("'acks_stood'=%ss;%s;%s;0; 'connections'=%d;;;0; 'stalled'=%d;;;0; 'unknown'=%d;;;0; 'pending'=%s;;;0; 'unacked'=%dB;;;0;",
		seconds(stood), seconds(l.Warning), seconds(l.Critical), all, count[verdict.Stuck], count[verdict.Untold], waits, unacked)
}

func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Round(time.Millisecond).Seconds(), 'f', -1, 64)
}
