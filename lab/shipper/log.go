package shipper

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// site is a place in Filebeat that logs: its logger's name, and file:line in 7.17.29.
type site struct{ logger, origin string }

// As a real Filebeat 7.17.29 prints them.
var (
	siteSetup        = site{"", "instance/beat.go:292"}
	siteRunning      = site{"", "instance/beat.go:457"}
	siteStopping     = site{"", "beater/filebeat.go:553"}
	siteStopped      = site{"", "instance/beat.go:463"}
	siteRegistrar    = site{"registrar", "registrar/registrar.go:109"}
	siteHarvester    = site{"input.harvester", "log/harvester.go:310"}
	siteConnecting   = site{"publisher_pipeline_output", "pipeline/output.go:143"}
	siteReconnecting = site{"publisher_pipeline_output", "pipeline/output.go:145"}
	siteEstablished  = site{"publisher_pipeline_output", "pipeline/output.go:151"}
	siteNoConnection = site{"publisher_pipeline_output", "pipeline/output.go:154"}
	siteNotPublished = site{"publisher_pipeline_output", "pipeline/output.go:180"}
	siteLogstash     = site{"logstash", "logstash/async.go:280"}
)

// logger writes to stdout what Filebeat would write to its log: tab-separated text as 7.17 (libbeat/logp, console
// encoder), or a JSON object a line as 8.x (ECS).
type logger struct {
	mu    sync.Mutex
	w     io.Writer
	shape string
}

func (l *logger) info(s site, format string, args ...any) {
	l.write("INFO", s, fmt.Sprintf(format, args...))
}

func (l *logger) error(s site, format string, args ...any) {
	l.write("ERROR", s, fmt.Sprintf(format, args...))
}

// write loses a line that can't be written: a log is no reason to stop shipping.
func (l *logger) write(level string, s site, message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000Z0700")
	if l.shape == "7.17" {
		columns := []string{now, level, s.origin, message}
		if s.logger != "" {
			columns = []string{now, level, "[" + s.logger + "]", s.origin, message}
		}
		fmt.Fprintln(l.w, strings.Join(columns, "\t"))
		return
	}
	// The lines of 8.15 differ from those of 7.17 and are left out; one of the files has a new name.
	file, _, _ := strings.Cut(s.origin, ":")
	if file == "pipeline/output.go" {
		file = "pipeline/client_worker.go"
	}
	type origin struct {
		File string `json:"file.name"`
	}
	json.NewEncoder(l.w).Encode(struct {
		Level   string `json:"log.level"`
		Time    string `json:"@timestamp"`
		Logger  string `json:"log.logger,omitempty"`
		Origin  origin `json:"log.origin"`
		Message string `json:"message"`
		Service string `json:"service.name"`
		ECS     string `json:"ecs.version"`
	}{strings.ToLower(level), now, s.logger, origin{file}, message, "filebeat", "1.6.0"})
}
