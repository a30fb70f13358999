package e2e

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

// The recordings under testdata in other packages come from here.
var fixtures = flag.String("fixtures", "", "keep Filebeat's /, /stats and log in this `folder`, scrubbed")

// keep saves what Filebeat said, without what it said of this machine: its host
// name becomes shipper, its folder /var/lib/filebeat, its executable the
// packaged one, the receiver's port 5044; the lines that describe host and
// process (addresses, machine id) are left out.
func (s *shipper) keep(t *testing.T, dir, receiver string) {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	scrub := func(b []byte) []byte {
		for _, r := range [][2]string{
			{s.dir, "/var/lib/filebeat"}, {bin, "/usr/share/filebeat/bin"},
			{receiver, "127.0.0.1:5044"}, {`"` + host + `"`, `"shipper"`}, {"Beat name: " + host, "Beat name: shipper"},
		} {
			b = bytes.ReplaceAll(b, []byte(r[0]), []byte(r[1]))
		}
		return b
	}
	await(t, "the log carries the counters", func() bool { return bytes.Contains(s.log(t), []byte("Non-zero metrics")) })
	var log []byte
	for _, line := range bytes.SplitAfter(s.log(t), []byte("\n")) {
		if !bytes.Contains(line, []byte(`"system_info"`)) {
			log = append(log, line...)
		}
	}
	for name, content := range map[string][]byte{
		"filebeat-7.17.29-root.json": s.get(t, "/"),
		"filebeat-7.17.29.json":      s.get(t, "/stats"),
		"filebeat-7.17.29.log":       log,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), scrub(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
