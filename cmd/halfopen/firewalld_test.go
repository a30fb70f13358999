package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"halfopen/netns"
)

// firewalld is the real one, in a network namespace of the test's.
type firewalld struct {
	t   *testing.T
	ns  *netns.NS
	dir string
}

// firewalldConfig has a zone of the router's interfaces, which forwards among them and
// drops what is for the router itself, and a policy for what is forwarded, without rules.
var firewalldConfig = map[string]string{
	"zones/public.xml":      `<zone target="DROP"><interface name="in"/><interface name="out"/><forward/></zone>`,
	"policies/shipping.xml": `<policy target="CONTINUE"><ingress-zone name="public"/><egress-zone name="public"/></policy>`,
}

// startFirewalld returns when it is in force.
func startFirewalld(t *testing.T, ns *netns.NS, backend string) *firewalld {
	t.Helper()
	f := &firewalld{t, ns, t.TempDir()}
	for name, text := range firewalldConfig {
		path := filepath.Join(f.dir, "etc", name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("../../tools/firewalld", "run", f.dir, backend)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
		until(60*time.Second, func() bool { return !f.answers() })
		if f.answers() {
			t.Errorf("the D-Bus of %s outlives its firewalld", f.dir)
		}
		if t.Failed() {
			t.Logf("firewalld said\n%s", &said)
		}
	})
	up := false
	until(60*time.Second, func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("start firewalld: %v\n%s", err, &said)
		default:
		}
		if !f.answers() {
			return false
		}
		_, err := f.ask("--state")
		up = err == nil
		return up
	})
	if !up {
		t.Fatalf("firewalld does not answer\n%s", &said)
	}
	return f
}

// answers reports whether its D-Bus does.
func (f *firewalld) answers() bool {
	c, err := net.Dial("unix", filepath.Join(f.dir, "bus"))
	if err == nil {
		c.Close()
	}
	return err == nil
}

func (f *firewalld) ask(args ...string) (string, error) {
	cmd := exec.Command("../../tools/firewalld", append([]string{"cmd", f.dir}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// cmd is firewall-cmd; it returns between which times.
func (f *firewalld) cmd(args ...string) (after, before time.Time) {
	f.t.Helper()
	after = time.Now()
	if out, err := f.ask(args...); err != nil {
		f.t.Fatalf("firewall-cmd %q: %v\n%s", args, err, out)
	}
	return after, time.Now()
}

var counts = regexp.MustCompile(`(?m)^#.*\n| \[\d+:\d+\]| packets \d+ bytes \d+`)

// rules are those of its namespace in nf_tables and in the legacy tables, without
// what they have counted.
func (f *firewalld) rules() string {
	f.t.Helper()
	var all bytes.Buffer
	for _, list := range []string{"nft list ruleset", "iptables-legacy-save", "ip6tables-legacy-save"} {
		args := strings.Fields(list)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdout = &all
		err := f.ns.Start(cmd)
		if err == nil {
			err = cmd.Wait()
		}
		if err != nil {
			f.t.Fatalf("%s: %v: \"make packages\" installs what is missing", list, err)
		}
	}
	return counts.ReplaceAllString(all.String(), "")
}
