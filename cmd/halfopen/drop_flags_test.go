package main

import (
	"testing"

	"halfopen/flow"
)

// What is taken can be shown and taken again.
func FuzzFlowFlag(f *testing.F) {
	for _, seed := range []string{"10.0.0.2:40312-10.0.0.9:5044", "[2001:db8::1]:1-[2001:db8::2]:2", "[::ffff:1.2.3.4]:1-1.2.3.4:2", "-", "1.2.3.4:0-1.2.3.4:1", "[fe80::1%e-0]:1-[fe80::2]:2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var a, b flowFlag
		if a.Set(text) != nil {
			return
		}
		if err := b.Set(a.String()); err != nil || a != b || a.flow.Local.Addr().Is4() != a.flow.Remote.Addr().Is4() {
			t.Errorf("%q is %v, shown as %q, which is %v (%v)", text, a, a.String(), b, err)
		}
	})
}

func FuzzLossFlag(f *testing.F) {
	for _, seed := range []string{"5%", "100%", "0.01%", "0%", "NaN%", "Inf%", "1e2%", "-5%", "%"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l lossFlag
		if l.Set(text) == nil && !(l >= 0.0001 && l <= 1) {
			t.Errorf("%q is a loss of %v", text, float64(l))
		}
	})
}

func FuzzParseSSH(f *testing.F) {
	for _, seed := range []string{"192.0.2.1 50000 192.0.2.2 22", "fe80::1%eth0 50000 fe80::2%eth0 22", "a b c d", "", "1 2 3 4 5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if k, ok := parseSSH(text); ok && (k == flow.Flow{} || !k.Local.IsValid() || !k.Remote.IsValid()) {
			t.Errorf("%q is %v", text, k)
		}
	})
}
