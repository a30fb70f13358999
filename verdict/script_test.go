package verdict

import (
	"testing"

	"halfopen/timeline"
)

// What the experimenter's script prints, a log of long ago perhaps, is no word of
// the shipper's.
func TestJudgeHearsNoScript(t *testing.T) {
	for name, want := range map[string]string{timeline.Script: Reproduced, "filebeat": Inconclusive} {
		y := stalls()
		y.events = map[int]string{30: "filebeat-reset"}
		rec := y.tell()
		for _, k := range rec.Records {
			if k.Event != nil {
				k.Event.Name = name
			}
		}
		if v := Judge(rec, Defaults()); v.Verdict != want {
			t.Errorf("said by %s: verdict %q, want %q: %s", name, v.Verdict, want, v.Summary)
		}
	}
}
