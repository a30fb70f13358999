package fault

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/flow"
	"halfopen/netns"
)

// need finds a program, and installs its Debian package where it is missing.
func need(t *testing.T, program, pkg string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	for _, args := range [][]string{{"update"}, {"install", "-y", "--no-install-recommends", pkg}} {
		cmd := exec.Command("apt-get", append([]string{"-qq", "-o", "DPkg::Lock::Timeout=300"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("install %s for %s: %v\n%s", pkg, program, err, out)
		}
	}
	if path, err = exec.LookPath(program); err != nil {
		t.Fatal(err)
	}
	return path
}

// in runs a program inside a namespace and returns what it prints.
func in(t *testing.T, ns *netns.NS, stdin string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s\n%s", strings.Join(args, " "), err, &out, stdin)
	}
	return out.String()
}

func scripted(p *path) map[string]Config {
	of := p.dial().flow()
	six := flow.Flow{Local: of.Local, Remote: of.Remote}
	return map[string]Config{
		"a":         {NS: p.router, Method: Local, Ports: flow.NewPorts(port, 24224)},
		"a forward": {NS: p.router, Method: Local, Ports: ports, Hook: HookForward, Ways: Both},
		"a all":     {NS: p.router, Method: Local, Everything: true, Hook: HookLocal, Ways: Both, Loss: 0.05},
		"b":         {NS: p.router, Method: Link, Ports: ports, Interface: "in", Loss: 0.5},
		"b all":     {NS: p.router, Method: Link, Everything: true, Interface: "out"},
		"b flow":    {NS: p.router, Method: Link, Flow: &six, Interface: "out"},
		"c":         {NS: p.router, Method: Transient, Ports: ports, Conntrack: p.conntrack},
		"c flow":    {NS: p.router, Method: Transient, Flow: &of, Conntrack: p.conntrack},
		"c local":   {NS: p.router, Method: Transient, Ports: ports, Conntrack: p.conntrack, Hook: HookLocal, Interface: "out"},
		"e":         {NS: p.router, Method: Idle, Ports: ports, Conntrack: p.conntrack, Idle: 5 * time.Second},
		"f-fin":     {NS: p.router, Method: LostFIN, Ports: ports},
		"d":         {NS: p.router, Method: Silent, Ports: flow.NewPorts(port, 24224)},
		"f-ack0":    {NS: p.router, Method: Ack0, Ports: ports},
		"f-rst":     {NS: p.router, Method: Reset, Ports: ports},
		"f-zero":    {NS: p.router, Method: ZeroWindow, Ports: ports},
		"f-zero at": {NS: p.router, Method: ZeroWindow, Ports: ports, Hook: HookLocal, Interface: "out"},
	}
}

// What is said to be done is taken by nft as it stands, and it is what is done:
// after each step nft shows the same table, whether it has made it or we have.
func TestScriptIsWhatIsDone(t *testing.T) {
	nft := need(t, "nft", "nftables")
	p := newPath(t)
	old := []flow.Flow{{Local: netip.MustParseAddrPort("10.50.0.2:40000"), Remote: netip.MustParseAddrPort("10.51.0.2:5044")}, {Local: netip.MustParseAddrPort("[2001:db8::1]:1"), Remote: netip.MustParseAddrPort("[2001:db8::2]:5044")}}
	for name, cfg := range scripted(p) {
		t.Run(name, func(t *testing.T) {
			script, err := Script(cfg, old)
			if err != nil {
				t.Fatal(err)
			}
			in(t, p.router, script, nft, "-c", "-f", "-")
			f, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			theirs := interactive(t, p.router, nft)
			steps := strings.Split(script, "\n# step: ")
			todo := []func() error{
				func() error { return nil },
				func() error { _, err := f.Cut(); return err },
				func() error { _, err := f.Hold(old); return err },
			}
			if cfg.Method.Proxied() {
				script = strings.ReplaceAll(script, fmt.Sprint(examplePort), fmt.Sprint(f.plan.proxy))
				steps = strings.Split(script, "\n# step: ")
				todo = slices.Insert(todo, 1, func() error { _, err := f.Redirect(); return err })
			}
			if len(steps) != len(todo)+1 {
				t.Fatalf("%d parts:\n%s", len(steps), script)
			}
			table := strings.TrimPrefix(strings.Fields(steps[0][strings.Index(steps[0], "add table"):])[3], "")
			for i, do := range todo {
				if err := do(); err != nil {
					t.Fatal(err)
				}
				part := steps[i]
				if i > 0 {
					part = "# step: " + part
				}
				theirs(part)
				family := strings.Fields(f.plan.target())[0]
				ours := listed(t, p.router, nft, family, f.plan.table)
				if strings.Count(ours, " hook ") != strings.Count(steps[0], " hook ") || strings.Count(ours, "counter name") != strings.Count(part, "counter name") {
					t.Errorf("step %d: we have made\n%s\nnot all of\n%s", i, ours, part)
				}
				var made string
				until(func() bool { // nft does one line after the other
					made = listed(t, p.router, nft, family, table)
					return made == ours
				})
				if made != ours {
					t.Errorf("step %d: nft makes\n%s\nwe have made\n%s", i, made, ours)
				}
			}
		})
	}
}

// interactive is an nft that goes on living, for a table with an owner goes with
// it. What it is given to do it does without an answer.
func interactive(t *testing.T, ns *netns.NS, nft string) func(commands string) {
	t.Helper()
	cmd := exec.Command(nft, "-i")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Wait() })
	return func(commands string) {
		t.Helper()
		for line := range strings.Lines(commands) {
			if line == "\n" || strings.HasPrefix(line, "#") {
				continue
			}
			if _, err := io.WriteString(stdin, line); err != nil {
				t.Fatal(err)
			}
		}
	}
}

var told = regexp.MustCompile(`packets \d+ bytes \d+`)

// listed is a table as nft shows it, without its name and its figures. Counters
// are listed in the order of a hash.
func listed(t *testing.T, ns *netns.NS, nft, family, table string) string {
	t.Helper()
	text := in(t, ns, "", nft, "-s", "list", "ruleset", family)
	_, text, ok := strings.Cut(text, "table "+family+" "+table+" {")
	if !ok {
		return ""
	}
	text, _, _ = strings.Cut(text, "\n}\n")
	var chains []string
	for part := range strings.SplitSeq(text, "\n\n") {
		if strings.Contains(part, "chain") {
			chains = append(chains, part)
		}
	}
	return told.ReplaceAllString(strings.Join(chains, "\n"), "")
}

// Nothing is done by asking what would be.
func TestScriptDoesNothing(t *testing.T) {
	p := newPath(t)
	for name, cfg := range scripted(p) {
		text, err := Script(cfg, nil)
		if err != nil || !strings.Contains(text, "# step: undo\ndelete table ") {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		cfg.Hook = "sideways"
		if text, err := Script(cfg, nil); err == nil {
			t.Errorf("%s on a hook that there is not:\n%s", name, text)
		}
	}
	if got := fmt.Sprint(p.tables()); got != "[nat]" {
		t.Errorf("tables %s", got)
	}
}
