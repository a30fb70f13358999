package main

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/lab"
	"halfopen/middlebox"
	"halfopen/timeline"
	"halfopen/verdict"
)

// flows awaits that acks go on for a while after a time, beyond those that may have been
// under way then.
func (h *byHand) flows(after time.Time) {
	h.t.Helper()
	after = after.Add(verdict.Defaults().Settle)
	h.await("acks to move on", func(rec *timeline.Recording) bool {
		var first, last int64
		for _, k := range rec.Records {
			if k.Stats == nil || k.Time.Before(after) {
				continue
			}
			if last = k.Stats.Sample.Acked.N; first == 0 {
				first = last
			}
			if last > first+20 {
				return true
			}
		}
		return false
	})
}

// told awaits that a rule of such a text is recorded after a time: tables that are
// compared are looked at more rarely on a slow machine.
func (h *byHand) told(after time.Time, text string) {
	h.t.Helper()
	h.await("a rule with "+text, func(rec *timeline.Recording) bool {
		return slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
			r := k.Rule
			return r != nil && r.Change.Rule != nil && k.Time.After(after) && strings.Contains(r.Change.Rule.Chain+": "+r.Change.Rule.Text, text) &&
				r.Change.Kind != middlebox.Destroy
		})
	})
}

// An engineer works with firewall-cmd on a host of the path. That the firewall is
// loaded anew, and what it does to new connections, is told and is no cut; what shuts
// the path to those of before is one, from the command that does it to the one that
// takes it back.
func TestFirewalldRecorded(t *testing.T) {
	const rich = "rule family=ipv4 port port=5044 protocol=tcp drop"
	const direct = " ipv4 raw PREROUTING 0 -p tcp --dport 5044 -j DROP"
	told := mostly(t, 500*time.Millisecond)
	for _, tt := range []struct {
		backend, cut, mend string
		by                 string // whom the kernel tells, "" where tables are compared
		rule, text         string // as recorded, and in the window
	}{
		{"nftables", "--panic-on", "--panic-off", "firewalld", "policy drop", "policy drop, as in 1 more chain"},
		{"iptables-nft", "--direct --add-rule" + direct, "--direct --remove-rule" + direct, "iptables-restor", "tcp dport 5044 counter drop", "tcp dport 5044 counter drop"},
		{"iptables-legacy", "--panic-on", "--panic-off", "", "target DROP", "ip legacy raw PREROUTING: target DROP"},
	} {
		t.Run(tt.backend, func(t *testing.T) {
			t.Parallel()
			h := startByHand(t)
			f := startFirewalld(t, h.bed.Router, tt.backend)
			h.record()
			f.cmd("--reload")
			_, reloaded := f.cmd("--complete-reload")
			f.cmd("--policy=shipping", "--add-rich-rule="+rich)
			var refused error
			err := h.bed.Shipper.Do(func() error {
				_, refused = net.DialTimeout("tcp", lab.ReceiverAddr.String()+":5044", 300*time.Millisecond)
				return nil
			})
			if err != nil || refused == nil {
				t.Errorf("a new connection passes the rule of firewalld: %v", err)
			}
			h.told(reloaded, "5044")
			h.flows(time.Now())
			f.cmd("--policy=shipping", "--remove-rich-rule="+rich)

			from0, from1 := f.cmd(strings.Fields(tt.cut)...)
			h.isCut(from0, from1, tt.rule)
			to0, to1 := f.cmd(strings.Fields(tt.mend)...)
			h.recovers()
			v, rec := h.finish()
			w := v.Window
			if v.Verdict != verdict.Recovered || w == nil || w.End == nil || !strings.HasPrefix(w.Known, "packet filter rules") || len(w.Rules) != 1 {
				t.Fatalf("%s: %s\nwindow %+v\n%+v\n%q", v.Verdict, v.Summary, w, v.Findings, v.Warnings)
			}
			t.Logf("%s to %s (within %s and %s): %s", w.Start, w.End, w.StartWithin, w.EndWithin, w.Rules[0])
			if w.Start.Before(from0) || w.Start.Add(-w.StartWithin).After(from1.Add(slack)) {
				t.Errorf("start %s within %s, want between %s and %s", w.Start, w.StartWithin, from0, from1)
			}
			if tt.by != "" {
				told(max(w.Start.Sub(from1), w.End.Sub(to1)))
			}
			if w.End.After(to1.Add(slack)) || w.End.Add(w.EndWithin).Before(to0) {
				t.Errorf("end %s within %s, want between %s and %s", w.End, w.EndWithin, to0, to1)
			}
			if !strings.Contains(w.Rules[0], tt.text) || tt.by != "" && !strings.Contains(w.Rules[0], " by "+tt.by+"[") {
				t.Errorf("rule %q, want %q by %q", w.Rules[0], tt.text, tt.by)
			}
			if !slices.ContainsFunc(v.Warnings, func(w string) bool {
				return strings.Contains(w, "not known to have met the connection") && strings.Contains(w, "5044")
			}) {
				t.Errorf("the rule about new connections is not told: %q", v.Warnings)
			}
			shut(t, rec)
		})
	}
}

// shut finds policies whose end is not told.
func shut(t *testing.T, rec *timeline.Recording) {
	t.Helper()
	drops := map[string]bool{}
	for _, k := range rec.Records {
		if k.Rule == nil || k.Rule.Change.Rule == nil || !strings.HasPrefix(k.Rule.Change.Rule.Text, "policy ") {
			continue
		}
		r := k.Rule.Change.Rule
		name := strings.Join([]string{r.Family, r.Table, r.Chain}, " ")
		if drops[name] = r.Drops && k.Rule.Change.Kind != middlebox.Destroy; !drops[name] {
			delete(drops, name)
		}
	}
	if len(drops) > 0 {
		t.Errorf("these chains still drop everything, says the recording: %v", drops)
	}
}
