package beatstats

import (
	"slices"
	"strings"

	"github.com/tidwall/gjson"
)

// parseFluentd reads /api/plugins.json of in_monitor_agent, all outputs taken
// together. Fluentd counts what it has written in chunks and confirms none of
// it here, so Acked stays nil. A body names neither version nor start.
func parseFluentd(body []byte, doc gjson.Result) Sample {
	s := Sample{Kind: Fluentd, Name: "fluentd"}
	if note := invalidUTF8(body); note != "" {
		s.Notes = append(s.Notes, note)
	}
	var in, emitted, queued, queuedBytes, retries, writes, rollbacks []*Value
	var outputs []string
	plugins, _ := member(doc, "plugins")
	plugins.ForEach(func(_, p gjson.Result) bool {
		at := "plugins." + text(p, "plugin_id")
		out, _ := member(p, "output_plugin")
		switch {
		case out.Bool() || text(p, "plugin_category") == "output":
			outputs = append(outputs, text(p, "type"))
			emitted = append(emitted, number(p, at, "emit_records"))
			queued = append(queued, number(p, at, "buffer_queue_length"))
			queuedBytes = append(queuedBytes, number(p, at, "buffer_total_queued_size"))
			retries = append(retries, number(p, at, "retry_count"))
			writes = append(writes, number(p, at, "write_count"))
			rollbacks = append(rollbacks, number(p, at, "rollback_count"))
		case text(p, "plugin_category") == "input":
			in = append(in, number(p, at, "emit_records"))
		}
		return true
	})
	s.Output = join(outputs)
	s.EventsIn = sum(in)
	s.Published = sum(emitted)
	s.Pending = sum(queued)
	s.PendingBytes = sum(queuedBytes)
	s.Retries = sum(retries)
	s.Batches = sum(writes)
	s.Failed = sum(rollbacks)
	return s
}

// parseFluentBit reads /api/v1/metrics, all outputs taken together. The names
// are registered in fluent-bit's src/flb_input.c and src/flb_output.c.
func parseFluentBit(body []byte, doc gjson.Result) Sample {
	s := Sample{Kind: FluentBit, Name: "fluent-bit"}
	if note := invalidUTF8(body); note != "" {
		s.Notes = append(s.Notes, note)
	}
	var in, acked, bytes, errors, retries, failed, dropped []*Value
	var outputs []string
	inputs, _ := member(doc, "input")
	inputs.ForEach(func(id, p gjson.Result) bool {
		in = append(in, number(p, "input."+id.Str, "records"))
		return true
	})
	outs, _ := member(doc, "output")
	outs.ForEach(func(id, p gjson.Result) bool {
		at := "output." + id.Str
		outputs = append(outputs, strings.ToValidUTF8(id.Str, "\ufffd"))
		acked = append(acked, number(p, at, "proc_records"))
		bytes = append(bytes, number(p, at, "proc_bytes"))
		errors = append(errors, number(p, at, "errors"))
		retries = append(retries, number(p, at, "retries"))
		failed = append(failed, number(p, at, "retries_failed"))
		dropped = append(dropped, number(p, at, "dropped_records"))
		return true
	})
	s.Output = join(outputs)
	s.EventsIn = sum(in)
	s.Acked = sum(acked)
	s.WriteBytes = sum(bytes)
	s.WriteErrors = sum(errors)
	s.Retries = sum(retries)
	s.Failed = sum(failed)
	s.Dropped = sum(dropped)
	return s
}

func join(names []string) string {
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
