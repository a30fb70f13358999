package shipper

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Keys of /stats, as a Filebeat 7.17.29 with a log input shows them and this shipper has figures for.
var keys717 = strings.Fields(`
beat.handles.limit.hard beat.handles.limit.soft beat.handles.open
beat.info.ephemeral_id beat.info.uptime.ms beat.info.version
beat.memstats.gc_next beat.memstats.memory_alloc beat.memstats.memory_sys beat.memstats.memory_total beat.memstats.rss
beat.runtime.goroutines
filebeat.events.active filebeat.events.added filebeat.events.done
filebeat.harvester.closed filebeat.harvester.open_files filebeat.harvester.running filebeat.harvester.started
libbeat.output.events.acked libbeat.output.events.active libbeat.output.events.batches libbeat.output.events.dropped
libbeat.output.events.duplicates libbeat.output.events.failed libbeat.output.events.toomany libbeat.output.events.total
libbeat.output.read.bytes libbeat.output.read.errors libbeat.output.type
libbeat.output.write.bytes libbeat.output.write.errors
libbeat.pipeline.clients
libbeat.pipeline.events.active libbeat.pipeline.events.dropped libbeat.pipeline.events.failed
libbeat.pipeline.events.filtered libbeat.pipeline.events.published libbeat.pipeline.events.retry libbeat.pipeline.events.total
libbeat.pipeline.queue.acked libbeat.pipeline.queue.max_events
registrar.states.current registrar.writes.fail registrar.writes.success registrar.writes.total
system.cpu.cores system.load.1 system.load.15 system.load.5
system.load.norm.1 system.load.norm.15 system.load.norm.5`)

// What 8.15 has beside them.
var keys815 = strings.Fields(`
beat.info.name
libbeat.pipeline.queue.added.bytes libbeat.pipeline.queue.added.events
libbeat.pipeline.queue.consumed.bytes libbeat.pipeline.queue.consumed.events
libbeat.pipeline.queue.filled.bytes libbeat.pipeline.queue.filled.events libbeat.pipeline.queue.filled.pct
libbeat.pipeline.queue.max_bytes
libbeat.pipeline.queue.removed.bytes libbeat.pipeline.queue.removed.events`)

func TestStatsShapes(t *testing.T) {
	t.Parallel()
	for shape, want := range map[string][]string{"7.17": keys717, "8.15": slices.Concat(keys717, keys815)} {
		p, log := newPeer(t), newLog(t)
		log.write(16)
		s := startShipper(t, Config{Dir: t.TempDir(), Input: log.path, Receiver: p.addr(), Timeout: time.Minute, Queue: 32, Shape: shape})
		await(t, "the lines to be sent", func() bool { return s.counters(t).active == 16 })

		body := s.get(t, "/stats")
		if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(maps.Keys(body))); diff != "" {
			t.Errorf("%s: keys of /stats: %s", shape, diff)
		}
		if shape == "8.15" {
			for key, want := range map[string]any{"filled.events": 16.0, "filled.pct": 0.5, "added.events": 16.0, "consumed.events": 16.0, "removed.events": 0.0} {
				if got := body["libbeat.pipeline.queue."+key]; got != want {
					t.Errorf("queue.%s is %v, want %v", key, got, want)
				}
			}
		}
		id := s.get(t, "/")
		for key, want := range map[string]any{
			"beat": "filebeat", "build_commit": "halfopen-lab",
			"version": body["beat.info.version"], "ephemeral_id": body["beat.info.ephemeral_id"],
		} {
			if id[key] != want {
				t.Errorf("%s: / has %s %v, want %v", shape, key, id[key], want)
			}
		}
		if v, _ := id["version"].(string); !strings.HasPrefix(v, shape+".") {
			t.Errorf("%s: version %q", shape, v)
		}
	}
}

func TestStatsAddUpUnderLoad(t *testing.T) {
	t.Parallel()
	r, log := startReceiver(t, ""), newLog(t)
	s := startShipper(t, Config{Input: log.path, Receiver: r.addr, Timeout: time.Minute, Queue: 512})
	for readings := 0; ; readings++ {
		if log.n < 20_000 {
			log.write(200)
		}
		c := s.counters(t)
		switch {
		case c.acked+c.failed > c.total, c.active != c.total-c.acked-c.failed,
			c.left > c.acked, c.pending != c.published-c.left, c.pending < 0, c.pending > c.capacity:
			t.Fatalf("reading %d does not add up: %+v", readings, c)
		}
		if c.left == 20_000 {
			t.Logf("%d readings", readings)
			return
		}
	}
}

func TestLogLayouts(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	l := &logger{w: &b, shape: "7.17"}
	l.info(siteReconnecting, "Attempting to reconnect to %s with %d reconnect attempt(s)", "x", 2)
	l.error(siteStopping, "Stopping filebeat")
	want := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\tINFO\t\[publisher_pipeline_output\]\tpipeline/output.go:145\tAttempting to reconnect to x with 2 reconnect attempt\(s\)
\S+Z\tERROR\tbeater/filebeat.go:553\tStopping filebeat
$`)
	if !want.Match(b.Bytes()) {
		t.Errorf("7.17 writes %q", b.String())
	}

	b.Reset()
	l.shape = "8.15"
	l.error(siteNoConnection, "Failed to connect to %s", `"x"`)
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("8.15 writes %q: %v", b.String(), err)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z", line["@timestamp"].(string)); err != nil {
		t.Error(err)
	}
	delete(line, "@timestamp")
	if diff := cmp.Diff(map[string]any{
		"log.level": "error", "log.logger": "publisher_pipeline_output",
		"log.origin": map[string]any{"file.name": "pipeline/client_worker.go"},
		"message":    `Failed to connect to "x"`, "service.name": "filebeat", "ecs.version": "1.6.0",
	}, line); diff != "" {
		t.Error(diff)
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	b := newBackoff()
	for i, least := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		if d := b.next(); d < least*time.Second || d >= 2*least*time.Second {
			t.Errorf("wait %d is %v, want %d s to %d s", i, d, least, 2*least)
		}
	}
	b.reset()
	if d := b.next(); d < time.Second || d >= 2*time.Second {
		t.Errorf("after a reset the wait is %v", d)
	}
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		env  string // NAME=value, less HALFOPEN_, separated by blanks
		want Config
		err  string
	}{
		{env: "INPUT=/var/log/app.log", want: Config{
			Input: "/var/log/app.log", Receiver: "10.51.0.2:5044", Stats: "127.0.0.1:5066", Timeout: 24 * time.Hour,
			Pipelining: 2, Queue: 4096, Shape: "7.17"}},
		{env: "ROLE=shipper DIR=/d INPUT=i RECEIVER=[::1]:1 STATS=:0 TIMEOUT=0s PIPELINING=1 QUEUE=32 STATS_SHAPE=8.15 KEEPALIVE=off", want: Config{
			Dir: "/d", Input: "i", Receiver: "[::1]:1", Stats: ":0", Pipelining: 1, Queue: 32, Shape: "8.15", NoKeepalive: true}},
		{env: "", err: "HALFOPEN_INPUT is not set"},
		{env: "INPUT=i ROLE=receiver", err: `HALFOPEN_ROLE "receiver"`},
		{env: "INPUT=i RECEIVER=logstash:5044", err: `HALFOPEN_RECEIVER "logstash:5044"`},
		{env: "INPUT=i STATS=5066", err: `HALFOPEN_STATS "5066"`},
		{env: "INPUT=i TIMEOUT=30", err: `HALFOPEN_TIMEOUT "30"`},
		{env: "INPUT=i TIMEOUT=-1s", err: `HALFOPEN_TIMEOUT "-1s"`},
		{env: "INPUT=i PIPELINING=0", err: `HALFOPEN_PIPELINING "0"`},
		{env: "INPUT=i QUEUE=31", err: `HALFOPEN_QUEUE "31"`},
		{env: "INPUT=i QUEUE=many", err: `HALFOPEN_QUEUE "many"`},
		{env: "INPUT=i KEEPALIVE=maybe", err: `HALFOPEN_KEEPALIVE "maybe"`},
		{env: "INPUT=i STATS_SHAPE=8.14", err: `HALFOPEN_STATS_SHAPE "8.14"`},
	} {
		env := map[string]string{}
		for _, v := range strings.Fields(tt.env) {
			name, value, _ := strings.Cut(v, "=")
			env["HALFOPEN_"+name] = value
		}
		got, err := FromEnv(func(name string) string { return env[name] })
		switch {
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%q: error %v, want one with %s", tt.env, err, tt.err)
		case tt.err == "" && err != nil:
			t.Errorf("%q: %v", tt.env, err)
		case tt.err == "":
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%q: %s", tt.env, diff)
			}
		}
	}
}
