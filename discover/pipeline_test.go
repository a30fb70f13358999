package discover

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The pipelines of a Logstash are those that it was given, as a file, a folder or a
// pattern; one that can't be read is told of, and the others are read all the same.
func TestLogstashPipelines(t *testing.T) {
	dir := t.TempDir()
	beats := write(t, dir+"/conf.d/10-in.conf", "input { beats { port => 5045 client_inactivity_timeout => 90 } }\n")
	write(t, dir+"/conf.d/20-out.conf", "output { stdout { } }\n")
	write(t, dir+"/conf.d/30-broken.conf", "input { beats {\n")
	for given, broken := range map[string]bool{
		dir + "/conf.d":              true,
		dir + "/conf.d/*.conf":       true,
		dir + "/conf.d/10-*":         false,
		dir + "/conf.d/10-in.conf":   false,
		dir + "/conf.d/nothing.conf": false,
	} {
		t.Run(filepath.Base(given), func(t *testing.T) {
			ns := host(t)
			pid := startParty(t, ns, party(t, "java"), []string{"java", "-Dls.cgroup.cpu.path.override=/", "org.logstash.Logstash", "-f", given}, "PARTY_LISTEN=127.0.0.1:5045")
			p := discovered(t, Options{}, pid)
			if filepath.Base(given) == "nothing.conf" {
				if len(p.Pipelines) != 0 {
					t.Errorf("found %+v", p.Pipelines)
				}
				return
			}
			if len(p.Pipelines) != 1 || p.Pipelines[0].File != beats || p.Pipelines[0].Config.Beats[0].Timeout() != 90*time.Second {
				t.Fatalf("found %+v, missing %q", p.Pipelines, p.Missing)
			}
			because(t, p, "pipeline with a beats input is in "+beats)
			if missed := slices.ContainsFunc(p.Missing, func(m string) bool { return strings.HasPrefix(m, "its pipeline") }); missed != broken {
				t.Errorf("missing %q", p.Missing)
			}
		})
	}
}
