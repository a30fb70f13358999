package shipper

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// figures maps dotted keys, as Filebeat's documentation spells them, to values.
type figures map[string]any

// set adds figures below a prefix.
func (f figures) set(prefix string, values figures) {
	for k, v := range values {
		f[prefix+"."+k] = v
	}
}

// MarshalJSON writes {"a.b":1,"a.c":2} as {"a":{"b":1,"c":2}}.
func (f figures) MarshalJSON() ([]byte, error) {
	root := map[string]any{}
	for key, value := range f {
		names := strings.Split(key, ".")
		at := root
		for _, name := range names[:len(names)-1] {
			if at[name] == nil {
				at[name] = map[string]any{}
			}
			at = at[name].(map[string]any)
		}
		at[names[len(names)-1]] = value
	}
	return json.Marshal(root)
}

// identity is the body of GET /. Its build_commit says that this is no Filebeat.
func (s *shipper) identity() figures {
	f := figures{
		"beat": "filebeat", "version": versions[s.cfg.Shape], "build_commit": "halfopen-lab", "elastic_licensed": false,
		"binary_arch": runtime.GOARCH, "name": s.host, "hostname": s.host,
		"uuid": s.registry.uuid(), "ephemeral_id": s.ephemeralID,
		"uid": strconv.Itoa(os.Getuid()), "gid": strconv.Itoa(os.Getgid()),
	}
	if u, err := user.Current(); err == nil {
		f["username"] = u.Username
	}
	return f
}

// figures is the body of GET /stats: the keys of Filebeat that there is a figure for.
func (s *shipper) figures() figures {
	f := figures{}
	// The queue first: what it has let go was acknowledged before, so output.acked is never behind queue.acked.
	queue := s.queue.counters()
	s.outputFigures(f, s.output.stats.counters())
	s.pipelineFigures(f, queue)
	s.inputFigures(f, queue)
	s.processFigures(f)
	systemFigures(f)
	return f
}

func (s *shipper) outputFigures(f figures, c outputCounters) {
	f.set("libbeat.output", figures{
		"type":           "logstash",
		"events.batches": c.batches, "events.total": c.total, "events.active": c.active(),
		"events.acked": c.acked, "events.failed": c.failed,
		"events.dropped": 0, "events.duplicates": 0, "events.toomany": 0, // what Logstash can't cause
		"write.bytes": c.writeBytes, "write.errors": c.writeErrors,
		"read.bytes": c.readBytes, "read.errors": c.readErrors,
	})
	f["libbeat.pipeline.events.retry"] = c.retry
}

func (s *shipper) pipelineFigures(f figures, c queueCounters) {
	held := c.added - c.removed
	f.set("libbeat.pipeline", figures{
		"clients":      1,
		"events.total": c.added, "events.published": c.added, "events.active": held,
		"events.filtered": 0, "events.dropped": 0, "events.failed": 0,
		"queue.acked": c.removed, "queue.max_events": s.cfg.Queue,
	})
	if s.cfg.Shape == "7.17" {
		return
	}
	f.set("libbeat.pipeline.queue", figures{
		"filled.events": held, "filled.pct": float64(held) / float64(s.cfg.Queue),
		"added.events": c.added, "consumed.events": c.consumed, "removed.events": c.removed,
		// Bytes are 0 with an output that encodes late, as Logstash's does (libbeat/publisher/queue/monitoring.go).
		"max_bytes": 0, "filled.bytes": 0, "added.bytes": 0, "consumed.bytes": 0, "removed.bytes": 0,
	})
}

func (s *shipper) inputFigures(f figures, c queueCounters) {
	f.set("filebeat.events", figures{"added": c.added, "done": c.removed, "active": c.added - c.removed})
	started := int(s.files.Load())
	running := min(started, 1)
	f.set("filebeat.harvester", figures{
		"started": started, "running": running, "closed": started - running, "open_files": running,
	})
	if written, failed, ok := s.registry.writes(); ok {
		f.set("registrar", figures{
			"states.current": running,
			"writes.total":   written + failed, "writes.success": written, "writes.fail": failed,
		})
	}
}

func (s *shipper) processFigures(f figures) {
	f.set("beat.info", figures{
		"ephemeral_id": s.ephemeralID, "version": versions[s.cfg.Shape],
		"uptime.ms": time.Since(s.started).Milliseconds(),
	})
	if s.cfg.Shape != "7.17" {
		f["beat.info.name"] = "filebeat"
	}
	f["beat.runtime.goroutines"] = runtime.NumGoroutine()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	f.set("beat.memstats", figures{
		"memory_total": mem.TotalAlloc, "memory_alloc": mem.Alloc, "memory_sys": mem.Sys, "gc_next": mem.NextGC,
	})
	if self, err := procfs.Self(); err == nil {
		if stat, err := self.Stat(); err == nil {
			f["beat.memstats.rss"] = stat.ResidentMemory()
		}
		if open, err := self.FileDescriptorsLen(); err == nil {
			f["beat.handles.open"] = open
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		f["beat.handles.limit.soft"], f["beat.handles.limit.hard"] = limit.Cur, limit.Max
	}
}

func systemFigures(f figures) {
	cores := runtime.NumCPU()
	f["system.cpu.cores"] = cores
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return
	}
	for i, minutes := range []string{"1", "5", "15"} {
		load := float64(info.Loads[i]) / (1 << unix.SI_LOAD_SHIFT)
		f["system.load."+minutes], f["system.load.norm."+minutes] = load, load/float64(cores)
	}
}

// serve answers on l until the returned server is closed.
func (s *shipper) serve(l net.Listener) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { reply(w, r, s.identity()) })
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) { reply(w, r, s.figures()) })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go srv.Serve(l)
	return srv
}

// reply indents where ?pretty asks for it, as Filebeat does.
func reply(w http.ResponseWriter, r *http.Request, body figures) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	enc := json.NewEncoder(w)
	if r.URL.Query().Has("pretty") {
		enc.SetIndent("", "  ")
	}
	enc.Encode(body)
}
