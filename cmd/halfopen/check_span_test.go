package main

import (
	"testing"
	"time"
)

func TestLimitSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "10": 10 * time.Second, "2.5": 2500 * time.Millisecond, "2m": 2 * time.Minute, "1h30m": 90 * time.Minute, "31536000": maxSpan,
		"": -1, "-1": -1, "-1s": -1, "NaN": -1, "Inf": -1, "1e300": -1, "10:20": -1, "31536001": -1, "9999h": -1, "soon": -1,
	} {
		l := limitSpan(-1)
		if err := l.Set(text); (err == nil) != (want >= 0) || time.Duration(l) != want {
			t.Errorf("%q: %s, %v; want %s", text, time.Duration(l), err, want)
		}
	}
}

// Whatever is taken is within bounds, and is read again as it is spelt.
func FuzzLimitSpan(f *testing.F) {
	for _, s := range []string{"10", "2.5", "2m", "1e3", "0x1p4", "-0", "1_0", "8760h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var l, again limitSpan
		if l.Set(s) != nil {
			return
		}
		if l < 0 || time.Duration(l) > maxSpan {
			t.Errorf("%q is %s", s, &l)
		}
		if err := again.Set(l.String()); err != nil || again != l {
			t.Errorf("%q is %s, and that is %s, %v", s, &l, &again, err)
		}
	})
}
