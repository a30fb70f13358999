package discover

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"halfopen/flow"
	"halfopen/netns"
)

// startWithOutput is startParty for a program whose errors go to a file.
func startWithOutput(t *testing.T, ns *netns.NS, exe, output string, env ...string) int {
	t.Helper()
	f, err := os.Create(output)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return startCmd(t, ns, &exec.Cmd{Path: exe, Args: []string{exe}, Env: append(os.Environ(), env...), Stderr: f})
}

// What a program puts out into a file is the log of a shipper that is known, and
// of what was named; of anything else it may be a dump of a database.
func TestOutput(t *testing.T) {
	ns := host(t)
	dir := t.TempDir()
	startParty(t, ns, party(t, "collector"), []string{"collector"}, "PARTY_LISTEN=127.0.0.1:5044")
	known := startWithOutput(t, ns, party(t, "vector"), dir+"/out.vector", "PARTY_CONNECT=127.0.0.1:5044")
	other := startWithOutput(t, ns, party(t, "pool"), dir+"/out.pool", "PARTY_CONNECT=127.0.0.1:5044")
	idle := startWithOutput(t, ns, party(t, "idle"), dir+"/out.idle")

	p := discovered(t, Options{}, known)
	if p.Kind != Vector || p.Role != Shipper || len(p.Connections) != 1 || !slices.Equal(p.Ports, flow.NewPorts(5044)) || !slices.Equal(p.Logs, []string{dir + "/out.vector"}) {
		t.Errorf("Vector: %+v", p)
	}
	because(t, p, "its executable is vector", "its output goes to "+dir)
	if missing := strings.Join(p.Missing, ";"); !strings.Contains(missing, "Vector's are not read") {
		t.Errorf("Vector: missing %q", p.Missing)
	}
	p = discovered(t, Options{}, other)
	if p.Kind != Unknown || len(p.Logs) > 0 || !strings.Contains(strings.Join(p.Missing, ";"), "its output goes to "+dir+"/out.pool") {
		t.Errorf("a stranger: logs %q, missing %q", p.Logs, p.Missing)
	}
	all, err := Find(t.Context(), Options{})
	if err != nil || slices.ContainsFunc(all, func(p Program) bool { return p.PID == idle }) {
		t.Errorf("found %+v, %v, what nobody asked for among them", all, err)
	}
	for pid, connections := range map[int]int{other: 1, idle: 0} {
		p := discovered(t, Options{PIDs: []int{pid}}, pid)
		want := filepath.Join(dir, "out."+p.Name)
		if p.Kind != Unknown || p.Role != Shipper || len(p.Connections) != connections || !slices.Equal(p.Logs, []string{want}) {
			t.Errorf("named: %+v, want log %s", p, want)
		}
		because(t, p, "was named")
	}
}
