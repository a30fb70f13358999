package container_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"halfopen/verdict"
)

// A shipper in a container is checked by the container's name, and found without
// one, with its counters, though no port is published.
func TestCheckContainer(t *testing.T) {
	d := docker(t)
	bin, input := halfopen(t), filepath.Join(t.TempDir(), "input.log")
	appendTo(t, input, "one\ntwo\nthree\n")
	shipper, _ := d.ship(bin, input)
	const whatever = -1
	check := func(code int, args ...string) (c verdict.Checkup) {
		t.Helper()
		cmd := exec.Command(bin, append([]string{"check", "--json", "--over", "200ms", "--timeout", "1m"}, args...)...)
		out, _ := cmd.Output()
		if err := json.Unmarshal(out, &c); err != nil || code != cmd.ProcessState.ExitCode() && code != whatever {
			t.Errorf("%v: %s, want %d: %v\n%s", args, cmd.ProcessState, code, err, out)
		}
		return c
	}
	for _, args := range [][]string{{"--container", "halfopen-shipping"}, nil} {
		var s verdict.ShipperCheck
		await(t, "acknowledgements", func() bool {
			for _, one := range check(whatever, args...).Shippers {
				if strings.Contains(one.What, "halfopen-shipping") {
					s = one
				}
			}
			return s.Counters != nil && s.Counters.Acked != nil && *s.Counters.Acked == 3 &&
				(s.Health == verdict.Healthy || s.Health == verdict.Idle) && len(s.Connections) == 1 && s.Connections[0].LastAck != nil
		})
		if args != nil { // else other shippers of this host count, too
			check(0, args...)
		}
	}
	d.do(shipper, "stop")
	c := check(4, "--container", "halfopen-shipping")
	if s := c.Shippers[0]; s.Health != verdict.Untold || !strings.Contains(s.Why, "does not run") {
		t.Errorf("stopped: %+v", s)
	}
}
