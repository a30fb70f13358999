package logtail_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"halfopen/logtail"
)

func TestPatternsMatchTheirExamples(t *testing.T) {
	all := logtail.Patterns()
	if len(all) < 25 {
		t.Fatalf("%d patterns", len(all))
	}
	names := map[string]bool{}
	for _, p := range all {
		if p.Name == "" || p.Means == "" || p.Source == "" || p.Example == "" || names[p.Name] {
			t.Errorf("pattern %+v: incomplete, or its name is taken", p)
		}
		names[p.Name] = true
		got, ok := logtail.Match(p.Example)
		if !ok || got.Name != p.Name {
			t.Errorf("the example of %s matches %q, %v", p.Name, got.Name, ok)
		}
	}
}

func TestMatch(t *testing.T) {
	const publish = "Failed to publish events caused by: read tcp 10.50.0.2:33342->10.51.0.2:5044: read: "
	for msg, want := range map[string]string{
		"": "",
		"Harvester started for paths: [/var/log/syslog]": "",
		"link to the manual":                             "",
		"Non-zero metrics in the last 30s":               "",
		"Connecting to elasticsearch":                    "",
		publish + unix.ETIMEDOUT.Error():                 "filebeat-kernel-timeout",
		publish + unix.ECONNABORTED.Error():              "filebeat-aborted",
		publish + unix.ECONNRESET.Error():                "filebeat-reset",
		publish + unix.EHOSTUNREACH.Error():              "filebeat-no-route",
		publish + unix.ENETUNREACH.Error():               "filebeat-no-route",
		"Failed to publish events caused by: write tcp 10.50.0.2:1->10.51.0.2:5044: write: " + unix.EPIPE.Error():                                 "filebeat-broken-pipe",
		"Failed to publish events caused by: unexpected EOF":                                                                                      "filebeat-eof",
		"failed to publish events: EOF":                                                                                                           "filebeat-eof",
		"Failed to publish events: client is not connected":                                                                                       "filebeat-not-connected",
		"Failed to connect to backoff(async(tcp://10.51.0.2:5044)): dial tcp 10.51.0.2:5044: i/o timeout":                                         "filebeat-connect-failed",
		"Failed to connect to failover(backoff(tcp://a:5084),backoff(tcp://b:5084)): dial tcp: lookup a: no such host":                            "filebeat-connect-failed",
		"Connection to failover(backoff(tcp://a:5084),backoff(tcp://b:5084)) established":                                                         "filebeat-connected",
		"Attempting to reconnect with 2 reconnect attempt(s)":                                                                                     "filebeat-reconnecting",
		"[local: 0.0.0.0:5044, remote: undefined] Handling exception: java.io.IOException: Connection reset by peer (caused by)":                  "logstash-reset",
		"[local: a, remote: b] Handling exception: java.net.SocketException: Connection reset (caused by: …)":                                     "logstash-reset",
		"possible SYN flooding on port 4671. Sending cookies.":                                                                                    "kernel-syn-flood",
		"TCP: request_sock_TCPv6: Possible SYN flooding on port 34391. Dropping request.  Check SNMP counters.":                                   "kernel-syn-flood",
		"kernel: possible SYN flooding on port 24224. Sending cookies.":                                                                           "kernel-syn-flood",
		`https 2024-06-10T13:50:58.480543Z app/ALB-Address Source IP Destination IP 0.001 0.001 -1 502 - 298 679 "GET Domain-URL"`:                "alb-502",
		`http 2024-06-10T13:50:58.480543Z app/web/50dc 192.0.2.1:2817 10.0.0.1:80 0.000 -1 -1 502 - 34 366 "GET http://x:80/ HTTP/1.1" "-" - -`:   "alb-502",
		`http 2024-06-10T13:50:58.480543Z app/web/50dc 192.0.2.1:2817 10.0.0.1:80 0.000 0.1 0.0 502 502 34 366 "GET http://x:80/ HTTP/1.1" "-"`:   "",
		`http 2024-06-10T13:50:58.480543Z app/web/50dc 192.0.2.1:2817 10.0.0.1:80 0.000 60.0 -1 504 - 34 366 "GET http://x:80/ HTTP/1.1" "-" - -`: "",
		"nf_conntrack: table full, dropping packet.":                                                                                              "kernel-conntrack-full",
		"e1000e: eth1 NIC Link is Down":                                        "kernel-link-down",
		"mlx5_core 0000:03:00.0 eth0: Link down":                               "kernel-link-down",
		"r8169 0000:02:00.0 eth0: Link is Up - 1Gbps/Full - flow control off":  "kernel-link-up",
		"Out of memory: Kill process 1234 (java) score 900 or sacrifice child": "kernel-oom-kill",
		"TCP: too many orphaned sockets":                                       "",
	} {
		got, ok := logtail.Match(msg)
		if got.Name != want || ok != (want != "") {
			t.Errorf("Match(%q) = %q, %v, want %q", msg, got.Name, ok, want)
		}
	}
}

// A message is found in a line of any format: as text, and as JSON where
// nothing in it is escaped.
func TestMatchWholeLines(t *testing.T) {
	for _, line := range formatLines {
		if line.pattern == "" {
			continue
		}
		e, err := line.format.Parse([]byte(line.text))
		if err != nil {
			t.Fatal(err)
		}
		for _, msg := range []string{line.text, e.Message} {
			if p, ok := logtail.Match(msg); !ok || p.Name != line.pattern {
				t.Errorf("Match(%s) = %q, want %q", strings.ToValidUTF8(msg, "?"), p.Name, line.pattern)
			}
		}
	}
}

func BenchmarkMatchNothing(b *testing.B) {
	const msg = "Harvester started for paths: [/var/log/syslog] and some more words, as long as a line of a log is on the average day of a program"
	b.SetBytes(int64(len(msg)))
	for b.Loop() {
		if _, ok := logtail.Match(msg); ok {
			b.Fatal("matched")
		}
	}
}
