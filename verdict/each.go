package verdict

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"halfopen/timeline"
)

// Judge judges a recording: its shipper, or where there are several, each of them
// by itself and all together by the worst.
func Judge(rec *timeline.Recording, th Thresholds) Verdict {
	shippers := rec.Header().Shippers()
	if len(shippers) < 2 {
		j := judgeOne(rec, rec.Header().Shipper(), th)
		j.warn(rec)
		return j.v
	}
	all := Verdict{Recording: filepath.Base(rec.Path), Thresholds: th}
	var last *judge
	for _, name := range shippers {
		last = judgeOne(rec, name, th)
		last.v.Shipper = name
		all.Shippers = append(all.Shippers, last.v)
		if s := last.v.Series; s != nil && (all.Series == nil || s.Snapshots > all.Series.Snapshots) {
			all.Series = &Series{Snapshots: s.Snapshots, Every: s.Every}
		}
	}
	all.sum()
	last.v = all
	last.warn(rec)
	return last.v
}

func judgeOne(rec *timeline.Recording, shipper string, th Thresholds) *judge {
	r := read(rec, shipper)
	th = th.slowed(r)
	j := &judge{run: r, th: th, v: Verdict{Recording: filepath.Base(rec.Path), Thresholds: th}}
	j.decide()
	for _, d := range r.doubts {
		j.warnf("%s", d.text)
	}
	return j
}

// gravity ranks verdicts, the gravest first: what has stalled, then what is not
// known.
var gravity = []string{Reproduced, Stalled, Inconclusive, Recovered, NotStalled}

// sum says of several shippers what the gravest verdict is, and on whom.
func (v *Verdict) sum() {
	worst := slices.MinFunc(v.Shippers, func(a, b Verdict) int {
		return slices.Index(gravity, a.Verdict) - slices.Index(gravity, b.Verdict)
	})
	v.Verdict, v.Class, v.Window = worst.Verdict, worst.Class, worst.Window
	var parts []string
	for _, verdict := range gravity {
		var names []string
		for _, s := range v.Shippers {
			if s.Verdict == verdict {
				names = append(names, s.Shipper)
			}
		}
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%s: %s", verdict, strings.Join(names, ", ")))
		}
	}
	v.Summary = fmt.Sprintf("%d shippers; %s", len(v.Shippers), strings.Join(parts, "; "))
}
