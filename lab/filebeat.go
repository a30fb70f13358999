package lab

import (
	"fmt"
	"strings"
	"time"
)

// FilebeatSettings is what filebeat.yml of a lab says.
type FilebeatSettings struct {
	Input      string // log file
	Receiver   string // host:port
	Timeout    time.Duration
	Pipelining int
	Queue      int // events
	StatsHost  string
	StatsPort  uint16
	Dir        string // home, data and logs
}

// FilebeatYML writes the settings as Filebeat 7.17 reads them. The embedded
// shipper gets the same figures; the file says then what a Filebeat would have
// been told, and the lint reads it.
func FilebeatYML(s FilebeatSettings) []byte {
	return []byte(strings.NewReplacer(
		"$input", quoteYML(s.Input), "$receiver", quoteYML(s.Receiver), "$timeout", s.Timeout.String(),
		"$pipelining", fmt.Sprint(s.Pipelining), "$queue", fmt.Sprint(s.Queue),
		"$statshost", quoteYML(s.StatsHost), "$statsport", fmt.Sprint(s.StatsPort), "$dir", quoteYML(s.Dir),
	).Replace(`filebeat.inputs:
  - type: log
    paths: [$input]
    scan_frequency: 1s

output.logstash:
  hosts: [$receiver]
  pipelining: $pipelining
  ttl: 0
  timeout: $timeout

queue.mem:
  events: $queue
  flush.min_events: 1
  flush.timeout: 1s

http.enabled: true
http.host: $statshost
http.port: $statsport

logging.level: info
logging.to_stderr: true

path.home: $dir
path.data: $dir
path.logs: $dir
`))
}

func quoteYML(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
