package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"halfopen/flow"
	"halfopen/lab"
	"halfopen/middlebox"
	"halfopen/netns"
	"halfopen/report"
	"halfopen/sockstate"
	"halfopen/timeline"
	"halfopen/verdict"
)

// byHand is a recording of a live connection through the lab's router, in which the
// test does what an experimenter does by hand.
type byHand struct {
	t        *testing.T
	bed      *lab.Bed
	shipper  int
	evidence string
	cmd      *exec.Cmd
	stdout   bytes.Buffer
}

// startByHand records inside the router's namespace: to the connection that is what
// the host's is to a container's.
func startByHand(t *testing.T) *byHand {
	t.Helper()
	h := &byHand{t: t, evidence: filepath.Join(t.TempDir(), "evidence")}
	var err error
	if h.bed, err = lab.NewBed(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.bed.Close)
	input := filepath.Join(t.TempDir(), "input.log")
	if err := os.WriteFile(input, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	party(t, h.bed.Receiver, "logstash", "lab-receiver")
	h.shipper = party(t, h.bed.Shipper, "filebeat", "lab-shipper", lab.EnvInput+"="+input, lab.EnvReceiver+"="+lab.ReceiverAddr.String()+":5044", lab.EnvStats+"="+shipperStats, lab.EnvTimeout+"=24h")
	stop := make(chan struct{})
	grown := make(chan error, 1)
	go func() { grown <- grow(input, stop) }()
	t.Cleanup(func() {
		close(stop)
		if err := <-grown; err != nil {
			t.Error(err)
		}
	})
	h.connected() // what holds sockets in a namespace tells a recorder who is there
	return h
}

// connected waits until the shipper has a connection.
func (h *byHand) connected() {
	h.t.Helper()
	yes := false
	until(60*time.Second, func() bool {
		yes = slices.ContainsFunc(h.shippers(), func(s sockstate.Socket) bool { return s.State == sockstate.Established })
		return yes
	})
	if !yes {
		h.t.Fatal("the shipper has no connection after 60 s")
	}
}

// shippers are the sockets of the shipper's namespace on the port.
func (h *byHand) shippers() []sockstate.Socket {
	h.t.Helper()
	diag, err := sockstate.OpenDiag(h.bed.Shipper, flow.NewPorts(5044))
	if err != nil {
		h.t.Fatal(err)
	}
	defer diag.Close()
	socks, err := diag.Dump()
	if err != nil {
		h.t.Fatal(err)
	}
	return socks
}

// grow adds ten lines a second.
func grow(path string, stop chan struct{}) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return nil
		case <-tick.C:
			if _, err := f.WriteString("a line\n"); err != nil {
				return err
			}
		}
	}
}

// hears reports whether somebody hears of changes of a namespace's packet filter
// (NETLINK_NETFILTER is 12, NFNLGRP_NFTABLES the seventh group).
func hears(ns *netns.NS) bool {
	text, _ := os.ReadFile(filepath.Join(ns.ProcRoot(), "net/netlink"))
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if groups, err := strconv.ParseUint(f[3], 16, 32); err == nil && f[1] == "12" && groups&(1<<6) != 0 {
			return true
		}
	}
	return false
}

// record starts the recorder and waits until the connection has been seen to flow,
// and rules are watched.
func (h *byHand) record(args ...string) {
	h.t.Helper()
	h.cmd = exec.Command(binary, append([]string{"record", "--json", "--quiet", "--evidence", h.evidence, "--port", "5044", "--netns", nsPath(h.bed.Shipper), "--stats", shipperStats}, args...)...)
	h.cmd.Stdout, h.cmd.Stderr = &h.stdout, h.t.Output()
	if err := h.bed.Router.Start(h.cmd); err != nil {
		h.t.Fatal(err)
	}
	h.await("the recorder to see acks move", func(rec *timeline.Recording) bool {
		if !hears(h.bed.Router) || !hears(h.bed.Shipper) {
			return false
		}
		var first int64
		for _, k := range rec.Records {
			if k.Stats == nil || !k.Stats.Sample.Acked.OK() {
				continue
			}
			if n := k.Stats.Sample.Acked.N; first == 0 {
				first = n
			} else if n > first+20 {
				return true
			}
		}
		return false
	})
}

// await polls the recording under way.
func (h *byHand) await(what string, done func(*timeline.Recording) bool) {
	h.t.Helper()
	var rec *timeline.Recording
	ok := false
	until(60*time.Second, func() bool {
		path, err := timeline.Find(h.evidence)
		if err != nil {
			return false
		}
		rec, err = timeline.Load(path)
		ok = err == nil && done(rec)
		return ok
	})
	if !ok {
		if rec != nil {
			h.t.Logf("%s", report.Text(verdict.Judge(rec, verdict.Defaults())))
		}
		h.t.Fatalf("waited in vain for %s", what)
	}
}

// slack is how late a notice may be read, by a process that does not get to run at once.
const slack = 5 * time.Second

// mostly returns what takes how late each case of a test was: half of them may be later
// than that, on a busy host.
func mostly(t *testing.T, most time.Duration) func(late time.Duration) {
	var mu sync.Mutex
	var all []time.Duration
	t.Cleanup(func() {
		if slices.Sort(all); len(all) > 0 && all[(len(all)-1)/2] > most {
			t.Errorf("most are late by more than %s: %s", most, all)
		}
	})
	return func(late time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, late)
	}
}

// isCut awaits that a rule of such a text, or in a chain of such a name, which came between
// two times, is recorded and has cut the path for a while.
func (h *byHand) isCut(from0, from1 time.Time, text string) {
	h.t.Helper()
	h.told(from0, text)
	h.await("the cut to last", func(*timeline.Recording) bool {
		q, again := h.sendQueue()
		return time.Since(from1) > 4*time.Second && q > 0 && again >= 3
	})
}

// recovers awaits that acks move again, after a cut whose end is known by the rules.
func (h *byHand) recovers() {
	h.t.Helper()
	h.await("acks to move again", func(rec *timeline.Recording) bool {
		v := verdict.Judge(rec, verdict.Defaults())
		return v.Verdict == verdict.Recovered && v.Window != nil && strings.HasPrefix(v.Window.Known, "packet filter rules")
	})
}

// run runs a command of the experimenter's, and returns between which times.
func (h *byHand) run(ns *netns.NS, command string) (after, before time.Time) {
	h.t.Helper()
	after = time.Now()
	said, err := h.output(ns, command)
	before = time.Now()
	if err != nil {
		h.t.Fatalf("%s: %v\n%s\"make packages\" installs what is missing", command, err, said)
	}
	return after, before
}

func (h *byHand) output(ns *netns.NS, command string) (string, error) {
	args := strings.Fields(command)
	cmd := exec.Command(args[0], args[1:]...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := ns.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	return said.String(), err
}

// sendQueue is what the shipper's connection has in flight, and how often that was
// sent again.
func (h *byHand) sendQueue() (bytes, retransmits uint32) {
	socks, _, _ := sockstate.ReadProc(h.bed.Shipper.ProcRoot(), flow.NewPorts(5044))
	for _, s := range socks {
		if s.State == sockstate.Established && s.Remote.Port() == 5044 {
			bytes, retransmits = bytes+uint32(s.SendQ), retransmits+s.Retransmits
		}
	}
	return bytes, retransmits
}

// finish ends the recording as Ctrl-C does.
func (h *byHand) finish() (v verdict.Verdict, rec *timeline.Recording) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(syscall.SIGINT); err != nil {
		h.t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := h.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		h.t.Fatal(err)
	}
	if err := json.Unmarshal(h.stdout.Bytes(), &v); err != nil {
		h.t.Fatalf("%v\n%s", err, &h.stdout)
	}
	path, err := timeline.Find(h.evidence)
	if err != nil {
		h.t.Fatal(err)
	}
	if rec, err = timeline.Load(path); err != nil {
		h.t.Fatal(err)
	}
	return v, rec
}

// A cut that somebody makes by hand beside the recorder is known by its rules, to
// the moment, without any mark.
func TestCutByHand(t *testing.T) {
	shipper := func(b *lab.Bed) *netns.NS { return b.Shipper }
	router := func(b *lab.Bed) *netns.NS { return b.Router }
	told := mostly(t, 500*time.Millisecond)
	for _, tt := range []struct {
		name          string
		where         func(*lab.Bed) *netns.NS
		before, again []string
		add, remove   string
		by, text      string
		counts, polls bool
	}{
		{name: "iptables-nft, own namespace", where: shipper, counts: true,
			add: "iptables-nft -I OUTPUT -p tcp --dport 5044 -j DROP", remove: "iptables-nft -D OUTPUT -p tcp --dport 5044 -j DROP", by: "iptables", text: "tcp dport 5044"},
		{name: "iptables-nft, and once more for a moment", where: shipper, counts: true,
			add: "iptables-nft -I OUTPUT -p tcp --dport 5044 -j DROP", remove: "iptables-nft -D OUTPUT -p tcp --dport 5044 -j DROP", by: "iptables", text: "tcp dport 5044",
			again: []string{"iptables-nft -I OUTPUT -p tcp --dport 5044 -j DROP", "iptables-nft -D OUTPUT -p tcp --dport 5044 -j DROP"}},
		{name: "iptables-nft, a chain that a jump leads to", where: shipper, counts: true,
			before: []string{"iptables-nft -N FOO", "iptables-nft -A FOO -j DROP"},
			add:    "iptables-nft -I OUTPUT -p tcp --dport 5044 -j FOO", remove: "iptables-nft -D OUTPUT 1", by: "iptables", text: "FOO"},
		{name: "iptables-legacy, own namespace", where: shipper, counts: true, polls: true,
			add: "iptables-legacy -w -I INPUT -p tcp --sport 5044 -s 10.51.0.0/24 -j DROP", remove: "iptables-legacy -w -F INPUT", text: "ip saddr 10.51.0.0/24"},
		{name: "iptables-nft, DOCKER-USER of the host", where: router, counts: true,
			before: []string{"iptables-nft -N DOCKER-USER", "iptables-nft -A DOCKER-USER -j RETURN", "iptables-nft -I FORWARD -j DOCKER-USER"},
			add:    "iptables-nft -I DOCKER-USER -p tcp -d 10.51.0.2 --dport 5044 -j DROP", remove: "iptables-nft -D DOCKER-USER 1", by: "iptables", text: "ip daddr 10.51.0.2"},
		{name: "iptables-legacy, FORWARD of the host", where: router, counts: true, polls: true,
			add: "iptables-legacy -w -I FORWARD -p tcp -m multiport --ports 5044 -j DROP", remove: "iptables-legacy -w -D FORWARD 1", text: "multiport"},
		{name: "nft, without a counter", where: router,
			before: []string{"nft add table inet mine", "nft add chain inet mine forward { type filter hook forward priority 0 ; }"},
			add:    "nft add rule inet mine forward tcp dport { 5044, 9600 } drop", remove: "nft flush chain inet mine forward", by: "nft", text: "tcp dport in @"},
		{name: "nft, the policy", where: router,
			before: []string{"nft add table inet mine", "nft add chain inet mine forward { type filter hook forward priority 0 ; policy accept ; }"},
			add:    "nft chain inet mine forward { policy drop ; }", remove: "nft chain inet mine forward { policy accept ; }", by: "nft", text: "policy drop"},
		{name: "nft, a policy that goes with its table", where: router,
			add: "nft table inet mine { chain forward { type filter hook forward priority 0 ; policy drop ; } ; }", remove: "nft delete table inet mine", by: "nft", text: "policy drop"},
		{name: "nft, an address in a set", where: router, counts: true,
			before: []string{"nft table inet mine { set blocked { type ipv4_addr ; flags interval ; } ; chain forward { type filter hook forward priority 0 ; ip daddr @blocked counter drop ; } ; }"},
			add:    "nft add element inet mine blocked { 10.51.0.0/29, 192.0.2.1 }", remove: "nft delete element inet mine blocked { 10.51.0.0/29 }", by: "nft", text: "with 10.51.0.0/29 in @blocked"},
		{name: "nft, a port in a set, flushed", where: shipper,
			before: []string{"nft table inet mine { set ports { type inet_service ; elements = { 80 } ; } ; chain out { type filter hook output priority 0 ; tcp dport @ports drop ; } ; }"},
			add:    "nft add element inet mine ports { 5044 }", remove: "nft flush set inet mine ports", by: "nft", text: "with 5044 in @ports"},
		{name: "nft, a map of verdicts", where: router, counts: true,
			before: []string{"nft table inet mine { map says { type ipv4_addr . inet_service : verdict ; } ; chain forward { type filter hook forward priority 0 ; counter ip daddr . tcp dport vmap @says ; } ; }"},
			add:    "nft add element inet mine says { 10.51.0.2 . 5044 : drop }", remove: "nft delete element inet mine says { 10.51.0.2 . 5044 : drop }", by: "nft", text: "with 10.51.0.2 . 5044 : drop"},
		{name: "iptables-legacy, DOCKER-USER of the host", where: router, counts: true, polls: true,
			before: []string{"iptables-legacy -w -N DOCKER-USER", "iptables-legacy -w -A DOCKER-USER -j RETURN", "iptables-legacy -w -I FORWARD -j DOCKER-USER"},
			add:    "iptables-legacy -w -I DOCKER-USER -p tcp -d 10.51.0.2 --dport 5044 -j DROP", remove: "iptables-legacy -w -D DOCKER-USER 1", text: "ip daddr 10.51.0.2"},
		{name: "iptables-legacy, a chain that a jump leads to", where: shipper, counts: true, polls: true,
			before: []string{"iptables-legacy -w -N FOO", "iptables-legacy -w -A FOO -j DROP"},
			add:    "iptables-legacy -w -I OUTPUT -p tcp --dport 5044 -j FOO", remove: "iptables-legacy -w -D OUTPUT 1", text: "FOO"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := startByHand(t)
			ns := tt.where(h.bed)
			for _, c := range tt.before {
				h.run(ns, c)
			}
			h.record()
			from0, from1 := h.run(ns, tt.add)
			h.isCut(from0, from1, tt.text)
			to0, to1 := h.run(ns, tt.remove)
			for _, c := range tt.again {
				_, to1 = h.run(ns, c)
			}
			h.recovers()
			v, _ := h.finish()
			w := v.Window
			if v.Verdict != verdict.Recovered || w == nil || w.End == nil || !strings.HasPrefix(w.Known, "packet filter rules") || len(w.Rules) != 1 {
				t.Fatalf("%s: %s\nwindow %+v\n%+v\n%q", v.Verdict, v.Summary, w, v.Findings, v.Warnings)
			}
			t.Logf("%s to %s (within %s and %s): %s", w.Start, w.End, w.StartWithin, w.EndWithin, w.Rules[0])
			if w.Start.Add(-w.StartWithin).After(from1.Add(slack)) || w.Start.Before(from0) || !tt.polls && w.Start.After(from1.Add(slack)) {
				t.Errorf("start %s within %s, want between %s and %s", w.Start, w.StartWithin, from0, from1)
			}
			if w.End.After(to1.Add(slack)) || w.End.Add(w.EndWithin).Before(to0) || !tt.polls && w.End.Before(to0) {
				t.Errorf("end %s within %s, want between %s and %s", w.End, w.EndWithin, to0, to1)
			}
			if (w.StartWithin > 0) != tt.polls || (w.EndWithin > 0) != tt.polls {
				t.Errorf("within %s and %s", w.StartWithin, w.EndWithin)
			}
			if !tt.polls {
				told(max(w.Start.Sub(from1), w.End.Sub(to1)))
			}
			if !strings.Contains(w.Rules[0], tt.text) || !strings.Contains(w.Rules[0], "by "+tt.by) && tt.by != "" {
				t.Errorf("rule %q, want %q by %q", w.Rules[0], tt.text, tt.by)
			}
			if counted := w.Packets != nil && *w.Packets > 0; counted != tt.counts {
				t.Errorf("packets %v, want a count: %t", w.Packets, tt.counts)
			}
		})
	}
}

// likeFirewalld is what a firewall manager loads: all its chains in one
// transaction, what is established accepted first.
const likeFirewalld = `table inet firewalld
delete table inet firewalld
table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		ct state invalid drop
		jump filter_FWD_deny
		tcp dport 22-1023 counter reject with icmpx admin-prohibited
	}
	chain filter_FWD_deny {
		tcp dport 5044 counter drop
	}
}
`

// A firewall that is loaded anew, again and again, is no cut: the connection goes
// on, and only new ones are dropped.
func TestFirewallReloaded(t *testing.T) {
	t.Parallel()
	h := startByHand(t)
	file := filepath.Join(t.TempDir(), "firewalld.nft")
	if err := os.WriteFile(file, []byte(likeFirewalld), 0o600); err != nil {
		t.Fatal(err)
	}
	h.record()
	for range 3 {
		began, _ := h.run(h.bed.Router, "nft -f "+file)
		var dropped error
		err := h.bed.Shipper.Do(func() error {
			_, dropped = net.DialTimeout("tcp", lab.ReceiverAddr.String()+":5044", 300*time.Millisecond)
			return nil
		})
		if err != nil || dropped == nil {
			t.Fatalf("a new connection: %v, %v", dropped, err)
		}
		loaded := time.Now()
		h.told(began, "tcp dport 5044")
		h.flows(loaded)
	}
	v, rec := h.finish()
	if v.Verdict != verdict.NotStalled || v.Window != nil {
		t.Errorf("%s, window %+v: %s", v.Verdict, v.Window, v.Summary)
	}
	loaded := 0
	for _, k := range rec.Records {
		if k.Rule != nil && k.Rule.Change.Kind == middlebox.New && k.Rule.Change.Rule.Concerns(flow.NewPorts(5044)) && k.Rule.Change.By == "nft" {
			loaded++
		}
	}
	if loaded < 3 {
		t.Errorf("%d times the rule was recorded, of 3", loaded)
	}
}
