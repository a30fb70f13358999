package verdict

import (
	"strings"
	"testing"
	"time"

	"halfopen/middlebox"
	"halfopen/timeline"
)

// panics is a firewall that makes the chains of a family drop everything for a while.
func panics(from, to int, family string, chains ...string) func(*shoot) {
	return func(m *shoot) {
		if m.second != from && m.second != to {
			return
		}
		text := "policy accept"
		if m.second == from {
			text = "policy drop"
		}
		for _, chain := range chains {
			r := middlebox.Rule{Family: family, Table: "raw", Chain: chain, Drops: m.second == from, Text: text}
			m.add(timeline.Body{Rule: &timeline.Rule{At: "host", Change: middlebox.RuleChange{Kind: middlebox.Update, By: family + "tables-restor", PID: 4711, Rule: &r}}})
		}
	}
}

// A firewall's policies make one window, whatever their number; the one that is told
// is that of the long cut, not of the moment in which the firewall was loaded anew.
func TestPolicies(t *testing.T) {
	long := one(phase{}, phase{at: 10, is: dead}, phase{at: 22})
	for _, tt := range []struct {
		name   string
		ships  []ship
		path   []func(*shoot)
		window []int // seconds
		rules  []string
	}{
		{"all chains", long, []func(*shoot){panics(10, 20, "ip", "PREROUTING", "OUTPUT", "FORWARD"), panics(10, 20, "ip6", "PREROUTING", "OUTPUT")},
			[]int{10, 20}, []string{"host, ip raw PREROUTING by iptables-restor[4711]: policy drop, as in 2 more chains"}},
		{"of another family", long, []func(*shoot){panics(10, 20, "ip6", "PREROUTING", "OUTPUT")}, nil, nil},
		{"one taken back later", long, []func(*shoot){panics(10, 16, "ip", "PREROUTING"), panics(10, 20, "ip", "OUTPUT")},
			[]int{10, 20}, []string{"PREROUTING", "OUTPUT"}},
		{"loaded anew before", one(phase{}, phase{at: 5, is: dead}, phase{at: 7}, phase{at: 15, is: dead}, phase{at: 27}),
			[]func(*shoot){panics(5, 6, "ip", "PREROUTING"), panics(15, 25, "ip", "FORWARD")}, []int{15, 25}, []string{"FORWARD"}},
		{"loaded anew later", one(phase{}, phase{at: 10, is: dead}, phase{at: 22}, phase{at: 35, is: dead}, phase{at: 37}),
			[]func(*shoot){panics(10, 20, "ip", "FORWARD"), panics(35, 36, "ip", "PREROUTING")}, []int{10, 20}, []string{"FORWARD"}},
		{"a short one, and no ack ever after", one(phase{}, phase{at: 10, is: dead}, phase{at: 22}, phase{at: 35, is: dead}),
			[]func(*shoot){panics(10, 20, "ip", "FORWARD"), panics(35, 38, "ip", "PREROUTING")}, []int{35, 38}, []string{"PREROUTING"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := Judge(film{seconds: 90, ships: tt.ships, path: func(m *shoot) {
				for _, p := range tt.path {
					p(m)
				}
			}}.roll(), Defaults())
			w := v.Window
			if tt.window == nil {
				if w != nil && w.Known == byRules {
					t.Errorf("window %+v, want none by rules", w)
				}
				return
			}
			if w == nil || w.Known != byRules || w.End == nil {
				t.Fatalf("window %+v, want one by rules; %s", w, v.Summary)
			}
			for i, at := range []time.Time{w.Start, *w.End} {
				if got := at.Sub(filmBegan); (got - time.Duration(tt.window[i])*time.Second).Abs() > 300*time.Millisecond {
					t.Errorf("window from %s to %s, want seconds %v after %s", w.Start, w.End, tt.window, filmBegan)
				}
			}
			if len(w.Rules) != len(tt.rules) {
				t.Fatalf("rules %q, want %q", w.Rules, tt.rules)
			}
			for i, want := range tt.rules {
				if !strings.Contains(w.Rules[i], want) {
					t.Errorf("rule %q, want %q", w.Rules[i], want)
				}
			}
		})
	}
}
