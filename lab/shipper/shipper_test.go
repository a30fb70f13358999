package shipper

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestShipsInOrder(t *testing.T) {
	t.Parallel()
	r, log := startReceiver(t, ""), newLog(t)
	s := startShipper(t, Config{Input: log.path, Receiver: r.addr, Timeout: time.Minute})
	var want []string
	for _, lines := range []int{1, 5000, 10} { // before and after the file exists, more than the queue holds
		log.write(lines)
		await(t, "every line to be acknowledged", func() bool { return s.counters(t).left == log.n })
	}
	for i := range log.n {
		want = append(want, message(i))
	}
	if diff := cmp.Diff(want, arrived(r)); diff != "" {
		t.Error(diff)
	}
	c := s.counters(t)
	if c.acked != log.n || c.total != log.n || c.pending != 0 || c.active != 0 || c.failed != 0 {
		t.Errorf("of %d lines: %+v", log.n, c)
	}
	if !s.out.has("\tINFO\t[publisher_pipeline_output]\tpipeline/output.go:151\tConnection to backoff(async(tcp://" + r.addr + ")) established\n") {
		t.Errorf("no connection in the log:\n%s", s.out)
	}
}

// A slow log gives small batches, many a second.
func TestSmallBatches(t *testing.T) {
	t.Parallel()
	r, log := startReceiver(t, ""), newLog(t)
	s := startShipper(t, Config{Input: log.path, Receiver: r.addr, Timeout: time.Minute})
	for range 5 {
		log.write(2)
		await(t, "two lines to be acknowledged", func() bool { return s.counters(t).left == log.n })
	}
	if c := s.counters(t); c.batches < 5 {
		t.Errorf("%d lines written two at a time made %d batches", log.n, c.batches)
	}
}

func TestReceiverKilledAndBack(t *testing.T) {
	t.Parallel()
	r, log := startReceiver(t, ""), newLog(t)
	s := startShipper(t, Config{Input: log.path, Receiver: r.addr, Timeout: time.Minute})
	log.write(100)
	await(t, "the first lines to be acknowledged", func() bool { return s.counters(t).left == log.n })
	before := s.counters(t)

	r.stop()
	log.write(100)
	await(t, "a refused connection and 100 pending lines", func() bool {
		return s.counters(t).pending == 100 &&
			s.out.has("Attempting to reconnect to backoff(async(tcp://"+r.addr+")) with 1 reconnect attempt(s)\n")
	})
	if c := s.counters(t); c.acked != before.acked || c.pending != 100 {
		t.Errorf("without a receiver %d lines are acknowledged (%d before) and %d pending, want 100", c.acked, before.acked, c.pending)
	}

	back := startReceiver(t, r.addr)
	log.write(100)
	await(t, "the other lines to be acknowledged", func() bool { return s.counters(t).left == log.n })
	t.Logf("%d lines, %d arrived twice", log.n, log.checkAll(r, back))
	if c := s.counters(t); c.retry <= before.retry || c.active != 0 || c.pending != 0 {
		t.Errorf("after the receiver is back: %+v, before %+v", c, before)
	}
}

// timeout 0s is the setting that looks like "never" and is "at once".
func TestTimeoutZero(t *testing.T) {
	t.Parallel()
	r, log := startReceiver(t, ""), newLog(t)
	s := startShipper(t, Config{Input: log.path, Receiver: r.addr, Timeout: 0})
	log.write(10)
	var c counters
	await(t, "ten lines to fail twice at two writes", func() bool {
		c = s.counters(t)
		return c.writeErrors >= 2 && c.failed >= 20 && c.retry >= 20 && c.published == 10
	})
	if c.acked != 0 || c.left != 0 || c.pending != 10 {
		t.Errorf("with timeout 0s: %+v", c)
	}
	await(t, "a timeout in the log", func() bool {
		return s.out.has("\tERROR\t[logstash]\tlogstash/async.go:280\tFailed to publish events caused by: write tcp ") && s.out.has(": i/o timeout\n")
	})
	if got := arrived(r); len(got) != 0 {
		t.Errorf("%d lines arrived", len(got))
	}
}

func TestMutePeer(t *testing.T) {
	t.Parallel()
	p, log := newPeer(t), newLog(t)
	s := startShipper(t, Config{Input: log.path, Receiver: p.addr(), Timeout: 300 * time.Millisecond})
	log.write(10)
	var c counters
	await(t, "ten lines to fail and a second connection", func() bool {
		c = s.counters(t)
		return len(p.conns) >= 2 && c.readErrors >= 1 && c.failed >= 10 && c.published == 10
	})
	if c.acked != 0 || c.pending != 10 {
		t.Errorf("with a mute peer: %+v", c)
	}
	for _, want := range []string{
		"Failed to publish events caused by: read tcp ", ": i/o timeout\n",
		"Failed to publish events caused by: client is not connected\n",
		"failed to publish events: client is not connected\n",
	} {
		await(t, fmt.Sprintf("%q in the log", want), func() bool { return s.out.has(want) })
	}
}

// Of a batch whose connection dies half acknowledged everything is sent again: go-lumber's AwaitACK forgets the
// partial ACK, in Filebeat too.
func TestPartialACK(t *testing.T) {
	t.Parallel()
	p, log := newPeer(t), newLog(t)
	s := startShipper(t, Config{Input: log.path, Receiver: p.addr(), Timeout: time.Minute, Pipelining: 1})
	log.write(1)
	c := <-p.conns
	sent := 0
	for { // the shipper decides how much is in a batch: wait for one of more than a line
		n := readBatch(t, c)
		if n > 1 {
			break
		}
		sent += n
		sendACK(t, c, n)
		log.write(10)
	}
	sendACK(t, c, 1)
	p.Close()
	c.Close()
	await(t, "the batch to fail", func() bool { return s.counters(t).failed > 0 })
	if c := s.counters(t); c.acked != sent || c.left != sent {
		t.Errorf("%d lines were acknowledged as a whole batch: %+v", sent, c)
	}

	r := startReceiver(t, p.addr())
	await(t, "the rest to be acknowledged", func() bool { return s.counters(t).left == log.n })
	if diff := cmp.Diff(message(sent), arrived(r)[0]); diff != "" {
		t.Errorf("first line sent again: %s", diff)
	}
	if c := s.counters(t); c.acked != log.n || c.pending != 0 {
		t.Errorf("of %d lines: %+v", log.n, c)
	}
}

// readBatch reads a window and its compressed frame (Lumberjack v2) and returns the number of events.
func readBatch(t *testing.T, c net.Conn) int {
	t.Helper()
	var head [12]byte
	if _, err := io.ReadFull(c, head[:]); err != nil || string(head[:2]) != "2W" || string(head[6:8]) != "2C" {
		t.Fatalf("read %q, %v; want a window and a compressed frame", head, err)
	}
	if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(head[8:]))); err != nil {
		t.Fatal(err)
	}
	return int(binary.BigEndian.Uint32(head[2:]))
}

func sendACK(t *testing.T, c net.Conn, n int) {
	t.Helper()
	if _, err := c.Write(binary.BigEndian.AppendUint32([]byte("2A"), uint32(n))); err != nil {
		t.Fatal(err)
	}
}

func TestFullQueueStopsTheReader(t *testing.T) {
	t.Parallel()
	const queue = 64
	p, log := newPeer(t), newLog(t)
	s := startShipper(t, Config{Input: log.path, Receiver: p.addr(), Timeout: 24 * time.Hour, Queue: queue})
	log.write(queue)
	await(t, "a full queue", func() bool { return s.counters(t).pending == queue })
	log.write(1000)
	for range 20 { // and no further
		if c := s.counters(t); c.pending != queue || c.published != queue || c.acked != 0 {
			t.Fatalf("with a queue of %d: %+v", queue, c)
		}
	}
	c := <-p.conns // before there is nobody to accept it
	p.Close()
	c.Close()
	r := startReceiver(t, p.addr())
	await(t, "every line to be acknowledged", func() bool {
		c := s.counters(t)
		if c.pending > queue {
			t.Fatalf("with a queue of %d: %+v", queue, c)
		}
		return c.left == log.n
	})
	log.checkAll(r)
}

// One who starts again where the last run was acknowledged up to ships nothing twice and nothing less.
func TestRestart(t *testing.T) {
	t.Parallel()
	r, log, dir := startReceiver(t, ""), newLog(t), t.TempDir()
	cfg := Config{Dir: dir, Input: log.path, Receiver: r.addr, Timeout: time.Minute}
	var uuid, ephemeral any
	for range 3 {
		s := startShipper(t, cfg)
		log.write(100)
		await(t, "every line to arrive", func() bool { return len(arrived(r)) == log.n })
		await(t, "every line to be acknowledged", func() bool { c := s.counters(t); return c.published > 0 && c.pending == 0 })
		id := s.get(t, "/")
		if uuid == nil {
			uuid = id["uuid"]
		}
		if id["uuid"] != uuid || id["ephemeral_id"] == ephemeral {
			t.Errorf("uuid %v, want %v again; ephemeral_id %v, want another than %v", id["uuid"], uuid, id["ephemeral_id"], ephemeral)
		}
		ephemeral = id["ephemeral_id"]
		s.stop()
		log.write(10) // while it is away
	}
	if n := log.n - 10; len(arrived(r)) != n {
		t.Errorf("%d lines arrived, want %d", len(arrived(r)), n)
	}
	if err := os.WriteFile(filepath.Join(dir, "registry.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Stats = "127.0.0.1:0"
	if err := Run(t.Context(), cfg, io.Discard); err == nil || !strings.Contains(err.Error(), "registry.json") {
		t.Errorf("a damaged registry: %v, want an error that names it", err)
	}
}

func TestStatsAddressInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = Run(t.Context(), Config{Stats: l.Addr().String(), Shape: "7.17", Queue: 32}, io.Discard)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v, want an address in use", err)
	}
}

func TestInputThatIsNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	err := Run(t.Context(), Config{Input: dir, Receiver: "127.0.0.1:1", Stats: "127.0.0.1:0", Shape: "7.17", Queue: 32}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", dir)) {
		t.Errorf("%v, want an error that names %q", err, dir)
	}
}
