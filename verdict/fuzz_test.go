package verdict

import (
	"encoding/json"
	"testing"

	"halfopen/timeline"
)

// Whatever a recording says, in whatever order, it gets a verdict that can be
// written down, and the same one again.
func FuzzJudge(f *testing.F) {
	for _, sc := range []film{
		{seconds: 40, far: true, ships: from10(dead)},
		{seconds: 70, cut: []int{10, 20}, ships: from10(dead)},
		cutByRules(film{seconds: 40, ships: from10(dead)}, ruling{from: 10, to: 20, rule: inSet, counts: 9}, ruling{from: 12, rule: counting(byPort), before: true}),
		{seconds: 50, ships: []ship{{lines: [][]phase{{{}, {at: 5, is: blocked}}}}, {place: "b", lines: [][]phase{{{}, {at: 5, is: closing}}}}}},
	} {
		var records []timeline.Record
		for i, k := range sc.roll().Records { // a small seed: large ones are minimized for minutes
			if k.Header != nil || k.Fault != nil || k.Rule != nil || k.End != nil || i%17 == 5 {
				records = append(records, k)
			}
		}
		text, err := json.Marshal(records[:min(len(records), 14)])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`[{"n":1,"header":{"places":[{"name":"a","role":"shipper"},{"name":"a","role":"shipper"},{"name":"","role":"receiver"}],"ports":[5044]}},
		{"n":2,"mono_ns":-9223372036854775808,"took_ns":9223372036854775807,"stats":{"at":"a","sample":{"acked":{"n":-1},"pending":{"n":9223372036854775807},"published":{"n":-9223372036854775808},"capacity":{"n":0}}}},
		{"n":3,"mono_ns":9223372036854775807,"stats":{"at":"a","sample":{"acked":{"n":9223372036854775807},"published":{"n":9223372036854775807}}}},
		{"n":4,"sockets":{"at":"a","sockets":[{"local":"1.2.3.4:1","remote":"1.2.3.4:5044","state":"ESTABLISHED","timer":"retransmit","retransmits":4294967295,"send_q_bytes":1,"info":{"last_ack_recv_ns":-1,"rto_ns":-1}}]}},
		{"n":5,"fault":{"step":{"name":"drop"}}},{"n":6,"mark":{"drop":"end"}},{"n":7,"settings":{"name":"a","timeout_ns":-1}},{"n":8,"end":{"reason":""}}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var records []timeline.Record
		if json.Unmarshal(text, &records) != nil || len(records) == 0 || records[0].Header == nil {
			return
		}
		for _, k := range records {
			bodies := 0
			for _, set := range []bool{
				k.Stats != nil, k.Sockets != nil, k.Fault != nil, k.Drops != nil, k.Canary != nil, k.Conntrack != nil, k.Event != nil,
				k.Party != nil, k.Settings != nil, k.Failure != nil, k.Mark != nil, k.Header != nil, k.End != nil, k.Owner != nil,
			} {
				if set {
					bodies++
				}
			}
			if bodies > 1 { // the reader refuses such a line
				return
			}
		}
		rec := &timeline.Recording{Path: "x", Records: records}
		sameTwice(t, rec)
	})
}

// sameTwice: the judge is pure.
func sameTwice(t *testing.T, rec *timeline.Recording) {
	t.Helper()
	a, err := json.Marshal(Judge(rec, Defaults()))
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := json.Marshal(Judge(rec, Defaults())); string(a) != string(b) {
		t.Errorf("two verdicts:\n%s\n%s", a, b)
	}
}
