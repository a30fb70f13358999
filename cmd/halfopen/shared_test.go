package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
	"halfopen/timeline"
	"halfopen/verdict"
)

// host is a namespace with its loopback up.
func host(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace (needs root): %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	up(t, ns, "lo", "")
	return ns
}

func up(t *testing.T, ns *netns.NS, link, addr string) {
	t.Helper()
	err := ns.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		if addr != "" {
			a, err := netlink.ParseAddr(addr)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(l, a); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(l)
	})
	if err != nil {
		t.Fatalf("set up %s: %v", link, err)
	}
}

// wire joins two namespaces: 10.52.0.1 and 10.52.0.2.
func wire(t *testing.T, a, b *netns.NS) {
	t.Helper()
	err := a.Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wire"}, PeerName: "wire", PeerNamespace: netlink.NsFd(b.FD())})
	})
	if err != nil {
		t.Fatal(err)
	}
	up(t, a, "wire", "10.52.0.1/24")
	up(t, b, "wire", "10.52.0.2/24")
}

// party starts halfopen's own shipper or receiver, as a program of that name.
func party(t *testing.T, ns *netns.NS, name, command string, env ...string) (pid int) {
	t.Helper()
	exe := filepath.Join(t.TempDir(), name)
	if err := os.Link(binary, exe); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, command)
	cmd.Env = append(os.Environ(), env...)
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGKILL)
		cmd.Wait()
	})
	return cmd.Process.Pid
}

// shipping starts a shipper and a receiver, and waits until they are connected.
func shipping(t *testing.T, near, far *netns.NS, to string) (shipper, receiver int) {
	t.Helper()
	input := filepath.Join(t.TempDir(), "input.log")
	if err := os.WriteFile(input, []byte("one\ntwo\nthree\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	receiver = party(t, far, "logstash", "lab-receiver")
	shipper = party(t, near, "filebeat", "lab-shipper", "HALFOPEN_INPUT="+input, "HALFOPEN_RECEIVER="+net.JoinHostPort(to, "5044"))
	connected := false
	until(60*time.Second, func() bool {
		socks, _, err := sockstate.ReadProc(near.ProcRoot(), flow.NewPorts(5044))
		connected = err == nil && slices.ContainsFunc(socks, func(s sockstate.Socket) bool {
			return s.State == sockstate.Established && s.Remote.Port() == 5044
		})
		return connected
	})
	if !connected {
		t.Fatal("the shipper does not connect")
	}
	return shipper, receiver
}

// recorded runs halfopen record beside two processes.
func recorded(t *testing.T, pids ...int) (verdict.Verdict, *timeline.Recording) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "evidence")
	args := []string{"record", "--json", "--evidence", dir, "--for", "5s"}
	for _, pid := range pids {
		args = append(args, "--pid", strconv.Itoa(pid))
	}
	cmd := exec.Command(binary, args...)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var v verdict.Verdict
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	return v, loaded(t, dir)
}

// judged is what holds wherever the two programs run: one connection, seen from
// both ends, the receiver's by a socket of tcp6.
func judged(t *testing.T, v verdict.Verdict, rec *timeline.Recording, to string) {
	t.Helper()
	if v.Verdict != verdict.NotStalled || v.Connection == nil || v.Connection.Remote.String() != net.JoinHostPort(to, "5044") {
		t.Errorf("verdict %q, connection %v: %s", v.Verdict, v.Connection, v.Summary)
	} else if v.Receiver == nil || *v.Receiver != v.Connection.Reverse() {
		t.Errorf("connection %v, at the receiver %v", v.Connection, v.Receiver)
	}
	late := 0 // answers of parties that did not get to run
	for _, w := range v.Warnings {
		if !strings.Contains(w, "no answer within") || late == 2 {
			t.Errorf("warning %q", w)
		}
		late++
	}
	raw, err := filepath.Glob(strings.TrimSuffix(rec.Path, timeline.Suffix) + "-sockets-*")
	if err != nil || !slices.ContainsFunc(raw, func(path string) bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), "0000000000000000FFFF0000")
	}) {
		t.Errorf("no IPv4-mapped row in %q, %v", raw, err)
	}
}

// A shipper and its receiver in two namespaces, side by side in one recording:
// the receiver's IPv4-mapped socket is the other end of the shipper's.
func TestRecordTwoNamespaces(t *testing.T) {
	t.Parallel()
	near, far := host(t), host(t)
	wire(t, near, far)
	shipper, receiver := shipping(t, near, far, "10.52.0.2")
	v, rec := recorded(t, shipper, receiver)
	judged(t, v, rec, "10.52.0.2")
	for _, k := range rec.Records {
		if k.Sockets != nil && len(k.Sockets.Also) > 0 {
			t.Fatalf("record %d holds for %s and %v, in two namespaces", k.N, k.Sockets.At, k.Sockets.Also)
		}
	}
}

// A shipper and its receiver on one host: its sockets are read once, for both.
func TestRecordOneNamespace(t *testing.T) {
	t.Parallel()
	ns := host(t)
	shipper, receiver := shipping(t, ns, ns, "127.0.0.1")
	v, rec := recorded(t, shipper, receiver)
	judged(t, v, rec, "127.0.0.1")
	places := rec.Header().Places
	if len(places) < 3 || places[2].Role != timeline.Router || places[0].NetNS != places[1].NetNS || places[0].Role != timeline.Shipper || places[1].Role != timeline.Receiver {
		t.Fatalf("places %+v", places)
	}
	counters, owners := map[string]int{}, map[int]bool{}
	readings, alone, took := 0, 0, time.Duration(0)
	for _, k := range rec.Records {
		switch {
		case k.Sockets != nil:
			readings += k.Sockets.Readings
			if k.Sockets.At != places[0].Name || !k.Sockets.Of(places[1].Name) {
				alone++
			}
		case k.Stats != nil:
			counters[k.Stats.At]++
		case k.Owner != nil && k.Owner.Process != nil:
			owners[k.Owner.Process.PID] = true
		}
		took = k.Mono - rec.Records[0].Mono
	}
	if alone > 1 { // when the recording ends, one of them is the first to leave
		t.Errorf("%d readings of the sockets hold for one place", alone)
	}
	if most := int(took/socketsEvery) + 5; readings == 0 || readings > most {
		t.Errorf("%d readings of the sockets in %s: want one source's, at most %d", readings, took, most)
	}
	if counters[places[0].Name] == 0 || counters[places[1].Name] == 0 || !owners[shipper] || !owners[receiver] {
		t.Errorf("counters %v, owners %v", counters, owners)
	}
}

// An ordinary user sees the sockets of his own namespace, whoever holds them, and
// is told what he can't watch.
func TestRecordAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	ns := host(t)
	shipper, _ := shipping(t, ns, ns, "127.0.0.1")
	dir := openDir(t)
	cmd := exec.Command(binary, "record", "--for", "5s", "--evidence", filepath.Join(dir, "evidence"))
	cmd.Dir, cmd.Env = dir, []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInconclusive {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"not watched: process " + strconv.Itoa(shipper) + " (filebeat)", "CAP_SYS_PTRACE", "it is another user's", "127.0.0.1:5044 ESTABLISHED"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing", want)
		}
	}
	path, err := timeline.Find(filepath.Join(dir, "evidence"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	rec, err := timeline.Load(path)
	if err != nil || !slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
		return k.Sockets != nil && k.Sockets.Via == "diag" && len(k.Sockets.Sockets) == 3
	}) {
		t.Errorf("no reading of the three sockets: %v\n%s", err, out.String())
	}
}
