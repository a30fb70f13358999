package beatstats

import (
	"math"

	"github.com/tidwall/gjson"
)

// Latency is how long an output's writes took until they were confirmed,
// milliseconds (elastic/beats libbeat/outputs/metrics.go, from 8.14; the
// Logstash output fills it from 8.17). It is a sample of the writes, taken anew
// when the service starts.
type Latency struct {
	Key    string   `json:"key"`   // of the histogram
	Count  *Value   `json:"count"` // writes since the start
	Median *float64 `json:"median_ms,omitempty"`
	P75    *float64 `json:"p75_ms,omitempty"`
	P95    *float64 `json:"p95_ms,omitempty"`
	P99    *float64 `json:"p99_ms,omitempty"`
	Max    *float64 `json:"max_ms,omitempty"`
}

// latencyRoots is where the histogram of the service's life stands, and that of
// the writes since somebody last read the page.
var latencyRoots = [...]string{"libbeat.output.write.latency.histogram", "libbeat.output.write.latency_delta.histogram"}

func latencyKeys() (keys []beatKey) {
	for i, root := range latencyRoots {
		keys = append(keys,
			beatKey{path: root + ".count", value: func(b *beatBody) **Value { return &b.latency[i].Count }},
			beatKey{path: root + ".median", float: func(b *beatBody) **float64 { return &b.latency[i].Median }},
			beatKey{path: root + ".p75", float: func(b *beatBody) **float64 { return &b.latency[i].P75 }},
			beatKey{path: root + ".p95", float: func(b *beatBody) **float64 { return &b.latency[i].P95 }},
			beatKey{path: root + ".p99", float: func(b *beatBody) **float64 { return &b.latency[i].P99 }},
			beatKey{path: root + ".max", float: func(b *beatBody) **float64 { return &b.latency[i].Max }},
		)
	}
	return keys
}

// duration reads a JSON number that is a time; what can't be one is left out.
func duration(r gjson.Result) *float64 {
	if r.Type != gjson.Number || r.Num < 0 || math.IsInf(r.Num, 0) || math.IsNaN(r.Num) {
		return nil
	}
	n := r.Num
	return &n
}

// latencies takes the histograms that hold writes: before the first, and of
// outputs that measure none, there is one of zeros.
func (b *beatBody) latencies() {
	for i, to := range []**Latency{&b.Latency, &b.RecentLatency} {
		l := &b.latency[i]
		if l.Count == nil || l.Count.N == 0 && l.Count.Corrupt == "" && i == 0 {
			continue
		}
		l.Key = latencyRoots[i]
		*to = l
	}
}
