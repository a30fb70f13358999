package container_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/fault"
	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
	"halfopen/timeline"
	"halfopen/verdict"
)

// A shipper and a receiver on two networks of an engine: the host forwards and
// masquerades between them. Beside Docker's rules the path is cut on the host and
// the flow forgotten; a recording of both containers shows what comes of it.
func TestDropBetweenNetworks(t *testing.T) {
	d := docker(t)
	bin := halfopen(t)
	p := d.across(bin)
	rules := p.host.rules()
	r := record(t, bin, "--container", "halfopen-near", "--container", "halfopen-far", "--for", "5m")
	p.delivers(r)

	drop := exec.Command(bin, "drop", "--method", "c", "--pid", fmt.Sprint(p.host.pid), "--port", "5044", "--for", "5s", "--hold", "1h", "--evidence", r.dir)
	var said bytes.Buffer
	drop.Stdout, drop.Stderr = &said, &said
	if err := drop.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { drop.Process.Kill(); drop.Wait() })
	// The judge wants to see a stall for 30 s after the path came back.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	judged := func() bool {
		rec, err := r.load()
		return err == nil && verdict.Judge(rec.Recording, verdict.Defaults()).Verdict == verdict.Reproduced
	}
	for n, over := 1, time.Now().Add(2*time.Minute); time.Now().Before(over) && (n%20 > 0 || !judged()); n++ {
		<-tick.C
		p.more()
	}
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	const stalled = 3 // exit code of a recording that shows a stall
	if r.cmd.Wait(); r.cmd.ProcessState.ExitCode() != stalled {
		t.Errorf("halfopen record: %s, want exit code %d", r.cmd.ProcessState, stalled)
	}
	rec, err := r.load()
	if err != nil {
		t.Fatal(err)
	}
	if err := drop.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := drop.Wait(); err != nil {
		t.Fatalf("halfopen drop: %v\n%s", err, &said)
	}

	w := windowIn(t, r.dir)
	if len(w.Steps) != 3 || len(w.Steps[1].Deleted) != 1 {
		t.Fatalf("steps %+v\n%s", w.Steps, &said)
	}
	near, far := rec.held(0, find(t, p.shipper).PID)[0], rec.held(1, find(t, p.receiver).PID)[0]
	if e := w.Steps[1].Deleted[0]; e.Orig != near.Flow || e.Reply != far.Flow || near.Flow == far.Reverse() {
		t.Errorf("forgotten was %v, answered %v; the shipper has %v, the receiver %v: want the same, and NAT between", e.Orig, e.Reply, near.Flow, far.Flow)
	}
	for _, step := range []string{fault.StepDrop, fault.StepForget} {
		if n, _ := w.Dropped(step, fault.Toward); n == 0 {
			t.Errorf("step %s dropped nothing\n%s", step, &said)
		}
	}
	out, err := exec.Command(bin, "verdict", "--json", r.dir).Output()
	var v verdict.Verdict
	if jerr := json.Unmarshal(out, &v); jerr != nil {
		t.Fatalf("verdict: %v, %v\n%s", err, jerr, out)
	}
	if v.Verdict != verdict.Reproduced || v.Class != verdict.HalfOpen {
		text, _ := exec.Command(bin, "verdict", r.dir).Output()
		t.Errorf("verdict %s, class %s\n%s", v.Verdict, v.Class, text)
	}
	if now := p.host.rules(); now != rules {
		t.Errorf("Docker's rules were\n%s\nand are\n%s", rules, now)
	}
	d.do(p.shipper, "restart") // and a new connection passes
	log := d.call("GET", "/containers/"+p.receiver+"/json", nil).Get("LogPath").String()
	await(t, "the last line to arrive", func() bool {
		text, err := os.ReadFile(log)
		return err == nil && bytes.Contains(text, []byte(fmt.Sprintf(" line %d", p.lines)))
	})
}

// A rule that somebody adds to Docker's DOCKER-USER by hand, and takes away again, is
// a drop window to a recorder on the host, without any mark.
func TestRuleByHandBetweenNetworks(t *testing.T) {
	d := docker(t)
	bin := halfopen(t)
	p := d.across(bin)
	r := recordBy(t, p.host.ns.Start, bin, "--container", "halfopen-near", "--container", "halfopen-far", "--for", "5m")
	p.delivers(r)

	rule := []string{"DOCKER-USER", "-i", "ho-a", "-o", "ho-b", "-p", "tcp", "--dport", "5044", "-j", "DROP"}
	adding := time.Now()
	p.host.run(append([]string{"iptables", "-w", "-I"}, rule...)...)
	added := time.Now()
	lost := func(rec recording) bool { // several times sent in vain
		return slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
			return k.Sockets != nil && slices.ContainsFunc(k.Sockets.Sockets, func(s sockstate.Socket) bool { return s.Remote.Port() == 5044 && s.Retransmits >= 3 })
		})
	}
	r.sees("retransmissions", func(rec recording) bool { p.more(); return lost(rec) })
	removing := time.Now()
	p.host.run(append([]string{"iptables", "-w", "-D"}, rule...)...)
	removed := time.Now()
	before := 0
	r.sees("deliveries again", func(rec recording) bool {
		p.more()
		if before == 0 {
			before = int(rec.ackedMost(0)) + 20
		}
		return rec.ackedMost(0) >= int64(before)
	})
	rec := r.end()

	v := verdict.Judge(rec.Recording, verdict.Defaults())
	w := v.Window
	if v.Verdict != verdict.Recovered || w == nil || w.End == nil || len(w.Rules) != 1 || !strings.Contains(w.Rules[0], "DOCKER-USER") {
		t.Fatalf("%s: %s\nwindow %+v", v.Verdict, v.Summary, w)
	}
	t.Logf("%s to %s: %s", w.Start, w.End, w.Rules[0])
	const slack = 5 * time.Second // a notice is read within some milliseconds, by a process that gets to run
	if w.Start.Before(adding) || w.Start.After(added.Add(slack)) || w.End.Before(removing) || w.End.After(removed.Add(slack)) {
		t.Errorf("window %s to %s, the rule came from %s to %s and went from %s to %s", w.Start, w.End, adding, added, removing, removed)
	}
}

// pair is a shipper and a receiver on two networks of an engine.
type pair struct {
	t                 *testing.T
	host              engineHost
	shipper, receiver string // containers
	input             string
	lines             int
}

func (a api) across(bin string) *pair {
	a.t.Helper()
	p := &pair{t: a.t, input: filepath.Join(a.t.TempDir(), "input.log"), host: a.hostOf()}
	p.more()
	a.network("halfopen-a", "ho-a")
	a.network("halfopen-b", "ho-b")
	for _, way := range [][2]string{{"ho-a", "ho-b"}, {"ho-b", "ho-a"}} { // what Docker leaves to DOCKER-USER
		p.host.run("iptables", "-I", "DOCKER-USER", "-i", way[0], "-o", way[1], "-j", "ACCEPT")
	}
	p.receiver = a.on("halfopen-b", "halfopen-far", nil, []string{bin + ":/bin/halfopen:ro"}, "/bin/halfopen", "lab-receiver")
	to := a.call("GET", "/containers/"+p.receiver+"/json", nil).Get("NetworkSettings.Networks.halfopen-b.IPAddress").String()
	p.shipper = a.on("halfopen-a", "halfopen-near", []string{"HALFOPEN_INPUT=/input.log", "HALFOPEN_RECEIVER=" + to + ":5044"},
		[]string{bin + ":/bin/filebeat:ro", p.input + ":/input.log:ro"}, "/bin/filebeat", "lab-shipper")
	return p
}

// more lets the shipper's log grow by a line.
func (p *pair) more() {
	p.lines++
	appendTo(p.t, p.input, fmt.Sprintf("line %d\n", p.lines))
}

// delivers waits until a recording shows lines to be acknowledged.
func (p *pair) delivers(r recorder) {
	p.t.Helper()
	r.sees("the connection", func(rec recording) bool { return len(rec.held(0, find(p.t, p.shipper).PID)) == 1 })
	r.sees("deliveries", func(rec recording) bool { p.more(); return rec.ackedMost(0) >= 20 })
}

// In a container's own namespace, by its name: what the shipper has to say is held up,
// and arrives afterwards. No published port is needed.
func TestDropInContainer(t *testing.T) {
	methods := []struct {
		name  string
		steps []string // after the first the connection is replaced by a new one, which carries a line
		args  []string
		met   func(w fault.Window) bool
	}{
		{"b", []string{fault.StepDrop}, nil, func(w fault.Window) bool {
			n, _ := w.Dropped(fault.StepDrop, fault.Toward) // on the interface that the connection uses
			return n > 0 && strings.Contains(strings.Join(w.Setup, "\n"), `device "eth0"`)
		}},
		{"d", []string{fault.StepProxy, fault.StepDrop}, []string{"--hold", "1s"}, func(w fault.Window) bool {
			n, _ := w.Dropped(fault.StepDrop, fault.Toward)
			return n > 0
		}},
		{"f-ack0", []string{fault.StepProxy, fault.StepAck0}, []string{"--hold", "1s"}, func(w fault.Window) bool {
			return w.Withheld != nil && w.Withheld.Toward > 0 && w.Withheld.Acks > 0
		}},
		{"f-zero-window", []string{fault.StepWindow}, nil, func(w fault.Window) bool {
			n, _ := w.Dropped(fault.StepWindow, fault.From)
			return n > 0
		}},
	}
	bin := halfopen(t)
	for _, m := range methods {
		t.Run(m.name, func(t *testing.T) {
			d := docker(t)
			input, dir := filepath.Join(t.TempDir(), "input.log"), t.TempDir()
			appendTo(t, input, "one\n")
			shipper, receiver := d.ship(bin, input)
			log := d.call("GET", "/containers/"+receiver+"/json", nil).Get("LogPath").String()
			arrived := func(line string) bool {
				text, err := os.ReadFile(log)
				return err == nil && bytes.Contains(text, []byte(" "+line))
			}
			await(t, "the first line to arrive", func() bool { return arrived("one") })

			drop := exec.Command(bin, append([]string{"drop", "--method", m.name, "--container", "halfopen-shipping", "--port", "5044",
				"--for", "8s", "--evidence", dir}, m.args...)...)
			stderr, err := drop.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := drop.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { drop.Process.Kill(); drop.Wait() })
			said := bufio.NewScanner(stderr)
			for i, step := range m.steps {
				if i > 0 {
					d.cutOff(shipper)
					appendTo(t, input, "again\n")
				}
				for said.Scan() && !strings.Contains(said.Text(), "step "+step+" in container halfopen-shipping") {
				}
			}
			appendTo(t, input, "held up\n")
			for said.Scan() {
			}
			if err := drop.Wait(); err != nil {
				t.Fatalf("halfopen drop: %v", err)
			}
			if w := windowIn(t, dir); !m.met(w) {
				t.Errorf("drop window %+v", w)
			}
			await(t, "what was held up to arrive", func() bool { return arrived("held up") })
		})
	}
}

// cutOff ends a container's connections to the port, so that it connects anew.
func (a api) cutOff(id string) {
	a.t.Helper()
	ns, err := netns.Open(fmt.Sprintf("/proc/%d/ns/net", find(a.t, id).PID))
	if err != nil {
		a.t.Fatal(err)
	}
	defer ns.Close()
	diag, err := sockstate.OpenDiag(ns, flow.NewPorts(5044))
	if err != nil {
		a.t.Fatal(err)
	}
	defer diag.Close()
	socks, err := diag.Dump()
	if err != nil || len(socks) == 0 {
		a.t.Fatalf("%d connections: %v", len(socks), err)
	}
	for _, s := range socks {
		if err := sockstate.Destroy(ns, s); err != nil {
			a.t.Fatal(err)
		}
	}
}

// ackedMost is the highest count that the counters have shown.
func (rec recording) ackedMost(place int) (most int64) {
	at := rec.Header().Places[place].Name
	for _, k := range rec.Records {
		if k.Stats != nil && k.Stats.At == at && k.Stats.Sample.Acked != nil {
			most = max(most, k.Stats.Sample.Acked.N)
		}
	}
	return most
}

// network makes a bridge network, and removes it with the test.
func (a api) network(name, bridge string) {
	a.t.Helper()
	body, err := json.Marshal(map[string]any{"Name": name, "Options": map[string]string{"com.docker.network.bridge.name": bridge}})
	if err != nil {
		a.t.Fatal(err)
	}
	id := a.call("POST", "/networks/create", bytes.NewReader(body)).Get("Id").String()
	a.t.Cleanup(func() { a.call("DELETE", "/networks/"+id, nil) })
}

// on starts a container on a network that runs a program of this host's.
func (a api) on(network, name string, env, binds []string, args ...string) (id string) {
	a.t.Helper()
	body, err := json.Marshal(map[string]any{
		"Image": image, "Env": env, "Cmd": args, "HostConfig": map[string]any{"Binds": binds, "NetworkMode": network},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	id = a.call("POST", "/containers/create?name="+name, bytes.NewReader(body)).Get("Id").String()
	a.t.Cleanup(func() { a.call("DELETE", "/containers/"+id+"?force=1", nil) })
	a.do(id, "start")
	return id
}

// engineHost is the network namespace that an engine makes its bridges in.
type engineHost struct {
	t   *testing.T
	pid int
	ns  *netns.NS
}

func (a api) hostOf() engineHost {
	a.t.Helper()
	conn, err := net.Dial("unix", strings.TrimPrefix(a.host, "unix://"))
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		a.t.Fatal(err)
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil || err != nil {
		a.t.Fatal(cerr, err)
	}
	h := engineHost{t: a.t, pid: int(cred.Pid)}
	if h.ns, err = netns.Open(fmt.Sprintf("/proc/%d/ns/net", h.pid)); err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { h.ns.Close() })
	return h
}

func (h engineHost) run(args ...string) string {
	h.t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := h.ns.Start(cmd); err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		h.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, &out)
	}
	return out.String()
}

var counts = regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]`)

// rules are the engine's and its user's, without their counters.
func (h engineHost) rules() string {
	return counts.ReplaceAllString(h.run("iptables-save"), "")
}

func windowIn(t *testing.T, dir string) fault.Window {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*-drop-window.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if w, err := fault.ParseWindow(bytes.NewReader(text)); err == nil { // the other is the recorder's
			return w
		}
	}
	t.Fatalf("no drop window among %v", files)
	return fault.Window{}
}
