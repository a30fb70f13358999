package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"halfopen/clock"
	"halfopen/netns"
	"halfopen/timeline"
)

// busy makes a namespace whose connections never rest: no two readings are the same.
func busy(t *testing.T) *netns.NS {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a namespace (needs root): %v", err)
	}
	t.Cleanup(func() { ns.Close() })
	err = ns.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(lo); err != nil {
			return err
		}
		l, err := net.Listen("tcp4", "127.0.0.1:5044")
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		for range 20 {
			client, err := net.Dial("tcp4", l.Addr().String())
			if err != nil {
				return err
			}
			server, err := l.Accept()
			if err != nil {
				return err
			}
			t.Cleanup(func() { client.Close(); server.Close() })
			go func() { _, _ = io.Copy(io.Discard, server) }()
			go func() {
				pace := time.NewTicker(20 * time.Millisecond)
				defer pace.Stop()
				for range pace.C {
					if _, err := client.Write(make([]byte, 100)); err != nil {
						return
					}
				}
			}()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return ns
}

// kill -9 of halfopen record at any moment, also while it begins or compresses a
// segment, costs the last second at most; the rest is whole.
func TestRecordKilled(t *testing.T) {
	t.Parallel()
	kills := 8
	if os.Getenv("HALFOPEN_SOAK") != "" {
		kills = 200
	}
	ns := busy(t)
	var mu sync.Mutex
	var worst time.Duration
	segments, whole, late := 0, 0, 0
	places := make(chan struct{}, 2)
	var running sync.WaitGroup
	for range kills {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			dir := t.TempDir()
			cmd := exec.Command(binary, "record", "--quiet", "--evidence", dir, "--netns", "/proc/self/ns/net", "--max-size", "64K")
			if err := ns.Start(cmd); err != nil {
				t.Error(err)
				return
			}
			until(time.Minute, func() bool {
				sockets, _ := filepath.Glob(filepath.Join(dir, "*.sock")) // it records
				return len(sockets) > 0
			})
			stood := letRun(time.Duration(rand.IntN(int(2500 * time.Millisecond)))) // the moment is what is random
			killed := clock.Mono()
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			last, files, err := lastRecord(dir)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			lost := killed - last
			if lost > 2*time.Second+stood { // what did not change is told once a second
				t.Logf("the last %s before the kill are missing in %s", lost, dir)
				late++
			}
			worst, segments, whole = max(worst, lost), segments+files, whole+1
		})
	}
	running.Wait()
	t.Logf("%d kills: at most the last %s missing; %d segments", whole, worst.Round(time.Millisecond), segments)
	// A recorder that did not get to run before it was killed had nothing to lose.
	if whole != kills || segments <= kills || late > kills/4 || worst > 10*time.Second {
		t.Errorf("%d of %d recordings are whole, %d without their end, in %d segments", whole, kills, late, segments)
	}
}

// letRun waits, and returns the longest time that the host stood still meanwhile.
func letRun(d time.Duration) (stood time.Duration) {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for began, last := clock.Mono(), clock.Mono(); last-began < d; {
		<-look.C
		now := clock.Mono()
		last, stood = now, max(stood, now-last)
	}
	return stood
}

// lastRecord reads a recording that was cut short, of which nothing else is amiss.
func lastRecord(dir string) (last time.Duration, segments int, err error) {
	path, err := timeline.Find(dir)
	if err != nil {
		return 0, 0, err
	}
	c, err := timeline.Verify(path)
	if err != nil {
		return 0, 0, err
	}
	if len(c.Holes)+len(c.Gaps)+len(c.Disorder) != 0 || len(c.Damage) > 1 {
		return 0, 0, errors.New(describe(c))
	}
	s, err := timeline.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	for {
		r, err := s.Next()
		if errors.Is(err, io.EOF) {
			return last, c.Segments, nil
		}
		if err != nil {
			return 0, 0, err
		}
		last = r.Mono
	}
}

// A recording that is to stay small keeps its newest segments and raw readings, says
// what it removed, and is whole and judged all the same.
func TestRecordKeep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(binary, "record", "--quiet", "--evidence", dir, "--netns", "/proc/self/ns/net", "--max-size", "64K", "--keep", "30K/1d", "--for", "10s")
	if err := busy(t).Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInconclusive {
		t.Errorf("exit code %d", code)
	}
	out, err := exec.Command(binary, "verify", dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "whole") || !regexp.MustCompile(`begins with record [0-9]+: the recorder removed [0-9]+ files`).Match(out) {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if out, _ := exec.Command(binary, "verdict", dir).Output(); !strings.Contains(string(out), "what is judged begins with record ") {
		t.Errorf("verdict\n%s", out)
	}
	path, err := timeline.Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := timeline.Load(path)
	if err != nil || rec.Header().Segment < 2 || rec.Records[0].N == 1 || rec.End() == nil || len(rec.Holes)+len(rec.Damage) != 0 {
		t.Errorf("header %+v, first record %d, holes %v, %v", rec.Header(), rec.Records[0].N, rec.Holes, err)
	}
}
