package beatstats

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// parseLogstash reads /_node/stats of Logstash 6 and later. The connections
// are those of every input that counts them (beats, elastic_agent), of all
// pipelines together.
func parseLogstash(body []byte, doc gjson.Result) Sample {
	s := Sample{
		Kind:    Logstash,
		Name:    text(doc, "name"),
		Version: text(doc, "version"),
		ID:      text(doc, "ephemeral_id"),

		EventsIn:    number(doc, "", "events", "in"),
		EventsOut:   number(doc, "", "events", "out"),
		MemoryBytes: number(doc, "", "jvm", "mem", "heap_used_in_bytes"),
		Handles:     number(doc, "", "process", "open_file_descriptors"),
	}
	if note := invalidUTF8(body); note != "" {
		s.Notes = append(s.Notes, note)
	}
	if v := number(doc, "", "jvm", "uptime_in_millis"); v.OK() && v.N <= math.MaxInt64/int64(time.Millisecond) {
		d := time.Duration(v.N) * time.Millisecond
		s.Uptime = &d
	} else if v != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("%s: %d %s", v.Key, v.N, v.Corrupt))
	}
	if f, _ := member(doc, "flow", "queue_backpressure", "current"); f.Type == gjson.Number && !math.IsInf(f.Num, 0) {
		s.Backpressure = &f.Num
	}
	var in logstashInputs
	pipelines, again := member(doc, "pipelines")
	if again {
		s.Notes = append(s.Notes, `the object "pipelines" is given more than once`)
	}
	pipelines.ForEach(func(id, p gjson.Result) bool {
		base := "pipelines." + id.Str
		in.add(base, p)
		if len(s.Pipelines) < maxPipelines {
			name := strings.ToValidUTF8(id.Str, "\ufffd")
			s.Pipelines = append(s.Pipelines, PipelineEvents{Name: name, In: number(p, base, "events", "in"), Out: number(p, base, "events", "out")})
		}
		return true
	})
	slices.SortStableFunc(s.Pipelines, func(a, b PipelineEvents) int { return strings.Compare(a.Name, b.Name) })
	s.Connections = sum(in.connections)
	s.PeakConnections = sum(in.peak)
	s.Received = sum(in.received)
	s.QueuePush = sum(in.push)
	s.Pending = sum(in.queued)
	s.PendingBytes = sum(in.queuedBytes)
	s.CapacityBytes = sum(in.maxBytes)
	return s
}

// maxPipelines bounds what a record holds of a body.
const maxPipelines = 64

// logstashInputs collects the same reading of every pipeline or input.
type logstashInputs struct {
	connections, peak, received, push []*Value // one an input that counts connections
	queued, queuedBytes, maxBytes     []*Value // one a pipeline with a persisted queue
}

func (in *logstashInputs) add(base string, pipeline gjson.Result) {
	inputs, _ := member(pipeline, "plugins", "inputs")
	inputs.ForEach(func(_, input gjson.Result) bool {
		at := base + ".plugins.inputs." + text(input, "id")
		if c := number(input, at, "current_connections"); c != nil {
			in.connections = append(in.connections, c)
			in.peak = append(in.peak, number(input, at, "peak_connections"))
			in.received = append(in.received, number(input, at, "events", "out"))
			in.push = append(in.push, number(input, at, "events", "queue_push_duration_in_millis"))
		}
		return true
	})
	// A memory queue reports zeros whatever it holds (integrations#14121).
	if text(pipeline, "queue", "type") == "persisted" {
		in.queued = append(in.queued, number(pipeline, base, "queue", "events_count"))
		in.queuedBytes = append(in.queuedBytes, number(pipeline, base, "queue", "queue_size_in_bytes"))
		in.maxBytes = append(in.maxBytes, number(pipeline, base, "queue", "max_queue_size_in_bytes"))
	}
}
