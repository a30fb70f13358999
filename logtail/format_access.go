package logtail

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// parseALB reads an entry of the access log of an AWS Application Load
// Balancer, "type time elb client:port target:port times… status…"
// (Elastic Load Balancing, Access log entries). The message is the whole entry.
func parseALB(line []byte) (Entry, error) {
	kind, rest, _ := bytes.Cut(line, []byte(" "))
	raw, rest, _ := bytes.Cut(rest, []byte(" "))
	switch string(kind) {
	case "http", "https", "h2", "grpcs", "ws", "wss":
	default:
		return Entry{}, fmt.Errorf("type %s: want http, https, h2, grpcs, ws or wss", quote(kind))
	}
	if !bytes.HasPrefix(rest, []byte("app/")) {
		return Entry{}, errors.New("the load balancer's name must begin with app/")
	}
	e := Entry{Message: string(line)}
	err := e.setTime(string(raw))
	return e, err
}

// parseAccess reads a line of the common or combined format,
// "host ident user [time] "request" status size …" (nginx, ngx_http_log_module,
// predefined "combined"; Apache, mod_log_config). The message is the whole line.
func parseAccess(line []byte) (Entry, error) {
	before, rest, ok := bytes.Cut(line, []byte(" ["))
	raw, after, ended := bytes.Cut(rest, []byte(`] "`))
	if !ok || !ended || bytes.Count(before, []byte(" ")) < 2 || bytes.IndexByte(after, '"') < 0 {
		return Entry{}, errors.New(`want host ident user [time] "request" status`)
	}
	at, err := time.Parse("02/Jan/2006:15:04:05 -0700", string(raw))
	if err != nil {
		return Entry{}, fmt.Errorf("time %s: want such as 21/Nov/2026:12:00:00 +0000", quote(raw))
	}
	return Entry{Time: at.UTC(), RawTime: string(raw), Message: string(line)}, nil
}

// parseStamped reads "2026-11-21T12:00:00.123456789Z message", as many programs
// write it, and container engines where they are asked for times.
func parseStamped(line []byte) (Entry, error) {
	raw, message, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return Entry{}, errors.New("no space after the time")
	}
	e := Entry{Message: string(message)}
	err := e.setTime(string(raw))
	return e, err
}
