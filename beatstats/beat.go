package beatstats

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// beatKeys is what is read of a Beat's /stats: elastic/beats
// libbeat/outputs/metrics.go, libbeat/publisher/pipeline/monitoring.go,
// libbeat/publisher/queue/monitoring.go, and for queueRoots beats#40477.
var beatKeys = slices.Concat([]beatKey{
	{path: "beat.info.name", text: func(b *beatBody) *string { return &b.Name }},
	{path: "beat.info.version", text: func(b *beatBody) *string { return &b.Version }},
	{path: "beat.info.ephemeral_id", text: func(b *beatBody) *string { return &b.ID }},
	{path: "beat.info.uptime.ms", value: func(b *beatBody) **Value { return &b.uptimeMS }},
	{path: "beat.handles.open", value: func(b *beatBody) **Value { return &b.Handles }},
	{path: "beat.memstats.rss", value: func(b *beatBody) **Value { return &b.MemoryBytes }},
	{path: "beat.runtime.goroutines", value: func(b *beatBody) **Value { return &b.Goroutines }},
	{path: "filebeat.events.added", value: func(b *beatBody) **Value { return &b.added }},
	{path: "filebeat.harvester.running", value: func(b *beatBody) **Value { return &b.HarvestersRunning }},
	{path: "filebeat.harvester.started", value: func(b *beatBody) **Value { return &b.HarvestersStarted }},
	{path: "filebeat.harvester.closed", value: func(b *beatBody) **Value { return &b.HarvestersClosed }},
	{path: "filebeat.harvester.open_files", value: func(b *beatBody) **Value { return &b.OpenFiles }},
	{path: "libbeat.output.type", text: func(b *beatBody) *string { return &b.Output }},
	{path: "libbeat.output.events.acked", always: true, value: func(b *beatBody) **Value { return &b.Acked }},
	{path: "libbeat.output.events.active", value: func(b *beatBody) **Value { return &b.Active }},
	{path: "libbeat.output.events.batches", always: true, value: func(b *beatBody) **Value { return &b.Batches }},
	{path: "libbeat.output.events.dropped", always: true, value: func(b *beatBody) **Value { return &b.Dropped }},
	{path: "libbeat.output.events.duplicates", always: true, value: func(b *beatBody) **Value { return &b.Duplicates }},
	{path: "libbeat.output.events.failed", always: true, value: func(b *beatBody) **Value { return &b.Failed }},
	{path: "libbeat.output.events.total", always: true, value: func(b *beatBody) **Value { return &b.Total }},
	{path: "libbeat.output.read.bytes", always: true, value: func(b *beatBody) **Value { return &b.ReadBytes }},
	{path: "libbeat.output.read.errors", always: true, value: func(b *beatBody) **Value { return &b.ReadErrors }},
	{path: "libbeat.output.write.bytes", always: true, value: func(b *beatBody) **Value { return &b.WriteBytes }},
	{path: "libbeat.output.write.errors", always: true, value: func(b *beatBody) **Value { return &b.WriteErrors }},
	{path: "libbeat.pipeline.clients", value: func(b *beatBody) **Value { return &b.Clients }},
	{path: "libbeat.pipeline.events.active", value: func(b *beatBody) **Value { return &b.active }},
	{path: "libbeat.pipeline.events.published", always: true, value: func(b *beatBody) **Value { return &b.Published }},
	{path: "libbeat.pipeline.events.retry", always: true, value: func(b *beatBody) **Value { return &b.Retries }},
	{path: "registrar.states.current", value: func(b *beatBody) **Value { return &b.RegistrarStates }},
	{path: "registrar.writes.total", value: func(b *beatBody) **Value { return &b.RegistrarWrites }},
	{path: "registrar.writes.fail", value: func(b *beatBody) **Value { return &b.RegistrarFailures }},
}, queueKeys(), latencyKeys())

// queueRoots is where the queue's own numbers stand: where they belong, and
// two places a release has put them in.
var queueRoots = [...]string{"libbeat.pipeline.queue", "libbeat.queue", "queue"}

func queueKeys() (keys []beatKey) {
	for i, root := range queueRoots {
		keys = append(keys,
			beatKey{path: root + ".acked", value: func(b *beatBody) **Value { return &b.queues[i].acked }},
			beatKey{path: root + ".filled.events", value: func(b *beatBody) **Value { return &b.queues[i].filled }},
			beatKey{path: root + ".max_events", value: func(b *beatBody) **Value { return &b.queues[i].maxEvents }},
			beatKey{path: root + ".max_bytes", value: func(b *beatBody) **Value { return &b.queues[i].maxBytes }},
		)
	}
	return keys
}

// beatBody is a Sample with the readings that only help to make it.
type beatBody struct {
	Sample
	uptimeMS *Value
	added    *Value // filebeat.events.added
	active   *Value // libbeat.pipeline.events.active
	queues   [len(queueRoots)]beatQueue
	latency  [len(latencyRoots)]Latency
	seen     [maxNodes]bool // by keyNode.id

	// values holds the numbers of the body: one allocation instead of forty.
	values [maxValues]Value
	used   int
}

type beatQueue struct{ acked, filled, maxEvents, maxBytes *Value }

func (b *beatBody) note(format string, args ...any) {
	b.Notes = append(b.Notes, fmt.Sprintf(format, args...))
}

func parseBeat(body []byte, doc gjson.Result) Sample {
	b := readBeat(body, doc)
	q := b.queue()
	b.capacity(q)
	b.depth(q.filled, b.active, less(b.Published, q.acked))
	b.knownFaults()
	return b.Sample
}

// readBeat takes what the key table names from doc, which is body or a part of
// it.
func readBeat(body []byte, doc gjson.Result) *beatBody {
	b := &beatBody{Sample: Sample{Kind: Beat}}
	if note := invalidUTF8(body); note != "" {
		b.note("%s", note)
	}
	b.walk(doc, beatTree)
	if b.Name == "" {
		b.Name = beatName(doc)
	}
	b.uptime()
	b.latencies()
	return b
}

// beatName finds the Beat's own section: beat.info names it only since 8.11.
func beatName(doc gjson.Result) (name string) {
	doc.ForEach(func(key, v gjson.Result) bool {
		if k := key.Str; v.IsObject() && strings.HasSuffix(k, "beat") && k != "beat" && k != "libbeat" {
			name = strings.ToValidUTF8(k, "\ufffd")
		}
		return name == ""
	})
	return name
}

func (b *beatBody) uptime() {
	v := b.uptimeMS
	switch {
	case v == nil:
	case v.Corrupt != "":
		b.note("%s: %s", v.Key, v.Corrupt)
	case v.N > math.MaxInt64/int64(time.Millisecond):
		b.note("%s: %d is more than 292 years", v.Key, v.N)
	default:
		d := time.Duration(v.N) * time.Millisecond
		b.Uptime = &d
	}
}

// queue picks the place the queue's numbers are really at. 8.15.0 leaves a
// section of zeros where they belong (beats#40477).
func (b *beatBody) queue() beatQueue {
	for i, q := range b.queues {
		if q.filled != nil || q.maxEvents != nil && q.maxEvents.N != 0 {
			if i > 0 {
				b.note("the queue's numbers are misplaced at %s (beats#40477)", queueRoots[i])
			}
			return q
		}
	}
	return b.queues[0]
}

func (b *beatBody) capacity(q beatQueue) {
	if q.maxBytes != nil && q.maxBytes.N != 0 {
		b.CapacityBytes = q.maxBytes
	}
	b.Capacity = q.maxEvents
	if q.maxEvents == nil || q.maxEvents.N != 0 || q.maxEvents.Corrupt != "" {
		return
	}
	if b.CapacityBytes != nil {
		b.Capacity = nil // a disk queue has no limit in events
		return
	}
	b.Capacity.Corrupt = "no queue holds 0 events: a disk queue, or a release that lost its numbers (beats#40477)"
}

// depth takes the best reading of what waits; a corrupt one yields to the next
// and is mentioned, and stands only where there is no other.
func (b *beatBody) depth(readings ...*Value) {
	for _, v := range readings {
		if v.OK() {
			b.Pending = v
			return
		}
		if v != nil {
			b.note("%s passed over: %s", v.Key, v.Corrupt)
			if b.Pending == nil {
				b.Pending = v
			}
		}
	}
}

// knownFaults names what is known to be wrong with the release.
func (b *beatBody) knownFaults() {
	if b.Version == "8.15.0" {
		b.note("8.15.0 misplaces the queue's numbers (beats#40477)")
	}
	if strings.HasPrefix(b.Version, "9.0.") && b.Name == "filebeat" && b.added == nil {
		b.note("%s leaves out filebeat.events (beats#44602)", b.Version)
	}
	if b.RecentLatency != nil {
		b.note("write.latency_delta is cleared by every reading of this page (beats#45749): other readers of it see only what came since this one")
	}
}
