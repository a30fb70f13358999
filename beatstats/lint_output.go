package beatstats

import (
	"fmt"
	"time"
)

const lumberTimeout = "measured on Filebeat 7.17.29; elastic/go-lumber client/v2/client.go, setWriteDeadline"

// measuredConfig is how what Filebeat takes and refuses was found out.
const measuredConfig = "measured on Filebeat 7.17.29; elastic/beats libbeat/outputs/logstash/config.go"

func (l *linter) outputRules() {
	if l.Output != "logstash" {
		l.report("output.logstash", "", Finding{
			Rule: "no-logstash-output", Level: LevelWarning,
			What: "no output.logstash is enabled: its settings are not judged",
			Why:  "timeout, ttl and pipelining decide a stall of that output only", Set: "output.logstash.hosts",
			Source: "Beats reference, Configure the Logstash output",
		})
		return
	}
	if len(l.Hosts) == 0 {
		l.refuses("output.logstash.hosts", "an output has to know where to", `hosts: ["logstash:5044"]`, measuredConfig)
	}
	l.bound("output.logstash.pipelining", l.Pipelining, 0)
	l.bound("output.logstash.max_retries", l.MaxRetries, -1)
	for _, name := range []string{"worker", "workers"} {
		l.bound("output.logstash."+name, l.Worker, 1)
	}
	if !l.open("output.logstash.timeout") {
		l.timeoutRule(or(l.Timeout, defaultOutputTimeout))
	}
	if l.openNone("output.logstash.ttl", "output.logstash.pipelining") {
		l.ttlRule()
	}
	if l.openNone("output.logstash.worker", "output.logstash.workers", "output.logstash.loadbalance", "output.logstash.bulk_max_size") {
		l.workerRules()
	}
	if l.MaxRetries != nil {
		l.report("output.logstash.max_retries", "", Finding{
			Rule: "max-retries-ignored", Level: LevelInfo,
			What: "does nothing: Filebeat sends an event again until it is confirmed",
			Why:  "Filebeat ignores the setting", Set: "nothing; leave it out",
			Source: "elastic/beats libbeat/outputs/logstash/docs/logstash.asciidoc, max_retries",
		})
	}
}

// bound reports a number below the least that Filebeat takes.
func (l *linter) bound(setting string, n *int, least int) {
	if _, given := l.at[setting]; given && n != nil && *n < least {
		l.refuses(setting, fmt.Sprintf("it is validated to be %d or more", least), "a number of that size", measuredConfig)
	}
}

func (l *linter) timeoutRule(t time.Duration) {
	const name, byDefault = "output.logstash.timeout", "30s"
	retries := or(l.env.TCPRetries2, 15)
	kernel := giveUp(retries)
	switch {
	case t < 0:
		l.report(name, byDefault, Finding{
			Rule: "timeout-negative", Level: LevelError,
			What: "Filebeat refuses it and does not start", Why: "its client takes no timeout below zero",
			Set: "timeout: 30s", Source: "elastic/go-lumber client/v2/opts.go, Timeout",
		})
	case t == 0:
		l.report(name, byDefault, Finding{
			Rule: "timeout-zero", Level: LevelError,
			What:   "every write fails at once with an i/o timeout: nothing is ever acknowledged, fault or no fault",
			Why:    "the deadline is now + timeout, already past; acked stays frozen and the queue fills, which only looks like a stall",
			Set:    "timeout: 24h to keep Filebeat waiting in an experiment, 30s in production",
			Source: lumberTimeout,
		})
	case t >= kernel:
		l.report(name, byDefault, Finding{
			Rule: "timeout-beyond-kernel", Level: LevelWarning,
			What: fmt.Sprintf("Filebeat does not end a dead connection by itself: the kernel does, after %s or a little more, and behind a proxy that goes on acknowledging nobody does", span(kernel)),
			Why:  fmt.Sprintf("%s is no less than what net.ipv4.tcp_retries2 = %d allows", span(t), retries),
			Set:  "timeout: 30s in production; in an experiment watch for longer than that",
			Source: "measured on Filebeat 7.17.29: 938 s with 24h and tcp_retries2 = 15; " +
				"Linux net/ipv4/tcp_timer.c, tcp_model_timeout",
		})
	default:
		l.report(name, byDefault, Finding{
			Rule: "timeout-recovers", Level: LevelInfo,
			What: fmt.Sprintf("Filebeat drops a silent connection %s after the last byte it read, and connects again", span(t)),
			Why:  "the read deadline is renewed by every answer, Logstash's keep-alive ACK 0 included",
			Set:  "timeout: 24h if a stall is to be watched for longer", Source: lumberTimeout,
		})
	}
	if idle := l.env.ClientInactivityTimeout; idle != nil && *idle > 0 && t > *idle {
		l.report(name, byDefault, Finding{
			Rule: "inactivity-before-timeout", Level: LevelWarning,
			What:   fmt.Sprintf("Logstash forgets a silent client after %s, Filebeat holds on for %s: in between the connection exists on Filebeat's side only", span(*idle), span(t)),
			Why:    "client_inactivity_timeout" + inBrackets(l.env.InactivityFrom) + " is less than the shipper's timeout; on a sound but idle path Logstash's RST makes Filebeat reconnect",
			Set:    "a client_inactivity_timeout above the shipper's timeout",
			Source: "logstash-plugins/logstash-input-beats#163, elastic/beats#7581",
		})
	}
}

func inBrackets(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

func (l *linter) ttlRule() {
	pipelining := or(l.Pipelining, defaultPipelining)
	if l.TTL != nil && *l.TTL < 0 {
		l.refuses("output.logstash.ttl", "it is validated to be 0 or more", "ttl: 0", measuredConfig)
		return
	}
	if l.TTL == nil || *l.TTL == 0 || pipelining == 0 {
		return
	}
	l.report("output.logstash.ttl", "", Finding{
		Rule: "ttl-ignored", Level: LevelWarning,
		What: "does nothing: the connection is never renewed for its age",
		Why:  fmt.Sprintf("pipelining is %d; the asynchronous client only warns that it knows no ttl", pipelining),
		Set:  "pipelining: 0 with it, at the cost of throughput", Source: "elastic/beats#661, elastic/beats#39127",
	})
}

func (l *linter) workerRules() {
	hosts, workers, balance := max(len(l.Hosts), 1), or(l.Worker, 1), or(l.LoadBalance, false)
	connections := hosts * workers
	name := "output.logstash.worker"
	if _, ok := l.at[name+"s"]; ok {
		name += "s"
	}
	switch {
	case !balance && workers > 1:
		l.report(name, "1", Finding{
			Rule: "worker-ignored", Level: LevelWarning,
			What: fmt.Sprintf("does nothing: one connection is made, not %d", connections),
			Why:  "without loadbalance all workers make one failover client", Set: "loadbalance: true, or leave worker out",
			Source: "elastic/beats#48656 (changed by #51041 in 2026), libbeat/outputs/util.go, SuccessNet",
		})
	case !balance && hosts > 1:
		l.report("output.logstash.loadbalance", "false", Finding{
			Rule: "one-host-at-a-time", Level: LevelInfo,
			What: fmt.Sprintf("one connection, to one of %d hosts; a silent one is left only when its timeout ends it", hosts),
			Why:  "failover needs an error, and a half-open connection gives none", Set: "a timeout that is not too long",
			Source: "elastic/beats libbeat/outputs/util.go, SuccessNet",
		})
	case balance && connections > 1:
		inFlight := connections * max(or(l.Pipelining, defaultPipelining), 1) * or(l.BulkMaxSize, defaultBulkMaxSize)
		l.report("output.logstash.loadbalance", "false", Finding{
			Rule: "shared-queue", Level: LevelInfo,
			What:   fmt.Sprintf("%d connections, %d to each of %d hosts, share one queue, up to %d events in flight: one that stalls soon holds back all", connections, workers, hosts, inFlight),
			Why:    "the queue frees events in order, so it fills behind the batches that are not confirmed",
			Set:    "nothing; watch every connection, not the sum",
			Source: "elastic/beats#12567",
		})
	case balance:
		l.report("output.logstash.loadbalance", "false", Finding{
			Rule: "loadbalance-ignored", Level: LevelInfo,
			What: "does nothing: there is one host and one worker", Why: "there is nothing to balance",
			Set: "more hosts or workers, or leave it out", Source: "elastic/beats libbeat/outputs/hosts.go, ReadHostList",
		})
	}
}
