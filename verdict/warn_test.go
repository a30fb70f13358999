package verdict

import (
	"testing"

	"halfopen/timeline"
)

func TestLost(t *testing.T) {
	for want, gap := range map[string]timeline.Gap{
		"1 line":            {Lost: -1, Lines: 1, File: "/var/log/x"},
		"an unknown amount": {Lost: -1, File: "/var/log/x"},
		"300 bytes":         {Lost: 300, File: "/var/log/x"},
		"2 records":         {Lost: 2},
	} {
		if got := lost(gap); got != want {
			t.Errorf("%+v: %q, want %q", gap, got, want)
		}
	}
}
