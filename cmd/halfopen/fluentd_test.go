package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"halfopen/beatstats"
	"halfopen/netns"
	"halfopen/timeline"
	"halfopen/verdict"
)

// fluentdEnv makes the test binary a party that ships or receives as Fluentd does:
// "out" or "in".
const fluentdEnv = "HALFOPEN_TEST_FLUENTD"

func init() {
	var err error
	switch os.Getenv(fluentdEnv) {
	case "":
		return
	case "out":
		err = fluentdOut("10.52.0.2:24224")
	case "in":
		err = fluentdIn(":24224")
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// fluentdChunk is a message of the forward protocol, always of one length: a tag,
// one entry, and an option that asks for an acknowledgement of the chunk.
var fluentdChunk = []byte("\x93\xa3app\x91\x92\xce\x00\x00\x00\x00\x81\xa3log\xa4line\x81\xa5chunk\xa8AAAAAAAA")

var fluentdAck = []byte("\x81\xa3ack\xa8AAAAAAAA")

// fluentdCounters are what both ends count, as in_monitor_agent of Fluentd 1.16 shows it.
type fluentdCounters struct{ emitted, written, queued, received atomic.Int64 }

func (c *fluentdCounters) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/api/plugins.json" {
		http.NotFound(w, r)
		return
	}
	fmt.Fprintf(w, `{"plugins":[
		{"plugin_id":"in_forward","plugin_category":"input","type":"forward","output_plugin":false,"retry_count":null,"emit_records":%d,"emit_size":0},
		{"plugin_id":"out_forward","plugin_category":"output","type":"forward","output_plugin":true,"buffer_queue_length":%d,"buffer_timekeys":[],
		 "buffer_total_queued_size":%d,"retry_count":0,"emit_records":%d,"emit_size":0,"emit_count":%d,"write_count":%d,"rollback_count":0,
		 "slow_flush_count":0,"flush_time_count":0,"buffer_stage_length":0,"buffer_stage_byte_size":0,"buffer_queue_byte_size":0,
		 "buffer_available_buffer_space_ratios":99.9}]}`,
		c.received.Load(), c.queued.Load(), c.queued.Load()*int64(len(fluentdChunk)), c.emitted.Load(), c.emitted.Load(), c.written.Load())
}

// fluentdOut ships a chunk every 100 ms and waits for its acknowledgement before
// the next; what comes meanwhile is queued.
func fluentdOut(to string) error {
	c := &fluentdCounters{}
	go http.ListenAndServe("127.0.0.1:24220", c)
	chunks := make(chan struct{}, 1<<16)
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			c.emitted.Add(1)
			c.queued.Add(1)
			chunks <- struct{}{}
		}
	}()
	conn, err := net.Dial("tcp", to)
	if err != nil {
		return err
	}
	for range chunks {
		c.queued.Add(-1) // it is being flushed
		c.written.Add(1)
		if _, err := conn.Write(fluentdChunk); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, make([]byte, len(fluentdAck))); err != nil {
			return err
		}
	}
	return nil
}

func fluentdIn(at string) error {
	c := &fluentdCounters{}
	go http.ListenAndServe("127.0.0.1:24220", c)
	l, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			for {
				if _, err := io.ReadFull(conn, make([]byte, len(fluentdChunk))); err != nil {
					return
				}
				c.received.Add(1)
				if _, err := conn.Write(fluentdAck); err != nil {
					return
				}
			}
		}()
	}
}

func fluentd(t *testing.T, ns *netns.NS, end string) (pid int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Args = []string{"fluentd"}
	cmd.Env = append(os.Environ(), fluentdEnv+"="+end)
	cmd.Stderr = t.Output()
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGKILL)
		cmd.Wait()
	})
	until(60*time.Second, func() bool { // exec has closed our pipe a moment before the arguments are there
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
		return bytes.HasPrefix(args, []byte("fluentd"))
	})
	return cmd.Process.Pid
}

// forget takes the far end's address away: from then on its kernel drops what
// comes, and answers nothing, as a path does that has forgotten the flow.
func forget(t *testing.T, near, far *netns.NS) {
	t.Helper()
	var hw net.HardwareAddr
	err := far.Do(func() error {
		l, err := netlink.LinkByName("wire")
		if err != nil {
			return err
		}
		hw = l.Attrs().HardwareAddr
		a, err := netlink.ParseAddr("10.52.0.2/24")
		if err != nil {
			return err
		}
		return netlink.AddrDel(l, a)
	})
	err = errors.Join(err, near.Do(func() error {
		l, err := netlink.LinkByName("wire")
		if err != nil {
			return err
		}
		// Nobody answers ARP for it any more.
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.IPv4(10, 52, 0, 2), HardwareAddr: hw})
	}))
	if err != nil {
		t.Fatal(err)
	}
}

// A Fluentd that forwards to another, and no Filebeat in sight: both are known by
// what they are, their counters are read, and when the path forgets their
// connection the verdict is what the kernel proves, since Fluentd does not count
// what was acknowledged.
func TestRecordFluentdPair(t *testing.T) {
	t.Parallel()
	near, far := host(t), host(t)
	wire(t, near, far)
	receiver := fluentd(t, far, "in")
	until(60*time.Second, func() bool { return listens(far, 24224) })
	shipper := fluentd(t, near, "out")
	dir := filepath.Join(t.TempDir(), "evidence")
	cmd := exec.Command(binary, "record", "--json", "--quiet", "--evidence", dir, "--port", "24224",
		"--pid", strconv.Itoa(shipper), "--pid", strconv.Itoa(receiver))
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	delivers := func() bool { // as the recording itself has it
		rec, err := readSoFar(dir)
		return err == nil && slices.ContainsFunc(rec.Records, func(k timeline.Record) bool {
			return k.Stats != nil && k.Stats.At == "fluentd-2" && k.Stats.Sample.EventsIn.OK() && k.Stats.Sample.EventsIn.N > 20
		})
	}
	until(60*time.Second, delivers)
	if !delivers() {
		t.Error("the receiver's counters were not recorded")
	}
	forget(t, near, far)
	last := func(rec *timeline.Recording) (s *beatstats.Sample) {
		for _, k := range rec.Records {
			if k.Stats != nil && k.Stats.At == "fluentd" {
				s = &k.Stats.Sample
			}
		}
		return s
	}
	until(60*time.Second, func() bool { // as the recording itself has it
		rec, err := readSoFar(dir)
		if err != nil {
			return false
		}
		v, s := verdict.Judge(rec, verdict.Defaults()), last(rec)
		return v.Stall != nil && v.Stall.For > verdict.Defaults().Silent && s != nil && s.Pending.OK() && s.Pending.N >= 50
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}

	var v verdict.Verdict
	if err := json.NewDecoder(stdout).Decode(&v); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitStalled || v.Verdict != verdict.Stalled || v.Class != verdict.HalfOpen || v.Confidence != verdict.Low {
		t.Errorf("exit code %d, %s, class %q, confidence %q: %s", code, v.Verdict, v.Class, v.Confidence, v.Summary)
	}
	if v.Connection == nil || v.Connection.Remote.String() != "10.52.0.2:24224" {
		t.Errorf("connection %v", v.Connection)
	}
	if !slices.ContainsFunc(v.Findings, func(f verdict.Finding) bool { return strings.Contains(f.Text, "say nothing of acknowledged events") }) {
		t.Errorf("findings %+v", v.Findings)
	}
	rec := loaded(t, dir)
	places := rec.Header().Places
	if len(places) < 2 { // the host's own may follow, for its packet filter
		t.Fatalf("places %+v", places)
	}
	for i, p := range places[:2] {
		if p.Name != []string{"fluentd", "fluentd-2"}[i] || p.Role != []string{timeline.Shipper, timeline.Receiver}[i] {
			t.Errorf("place %+v", p)
		}
	}
	if s := last(rec); s == nil || s.Kind != beatstats.Fluentd || s.Output != "forward" || !s.Pending.OK() || s.Pending.N < 50 || s.Batches.N < 20 {
		t.Errorf("the shipper's last sample %+v", s)
	}
}
