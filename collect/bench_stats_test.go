package collect

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"halfopen/beatstats"
	"halfopen/flow"
	"halfopen/timeline"
)

const (
	// serveEnv makes the test binary a server of counters on so many endpoints.
	serveEnv  = "COLLECT_SERVE"
	endpoints = 100
)

func init() {
	if os.Getenv(serveEnv) == "" {
		return
	}
	if err := serveCounters(); err != nil {
		fmt.Fprintln(os.Stderr, "serve counters:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveCounters answers as a real Filebeat 7.17.29 did, tells its addresses, and
// ends when its input does.
func serveCounters() error {
	page, err := os.ReadFile("../beatstats/testdata/filebeat-7.17.29.json")
	if err != nil {
		return err
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stats" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write(page)
	})
	for range endpoints {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go http.Serve(l, answer)
		fmt.Println(l.Addr())
	}
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	return nil
}

// BenchmarkScrapes reads the counters of 100 endpoints once a second each into a
// recording on disk, and prints what share of one core that takes. The servers are
// a process of their own, whose time does not count. An iteration is one second.
func BenchmarkScrapes(b *testing.B) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("server: %v", err)
		}
	})
	var sources []Source
	for at := bufio.NewScanner(out); len(sources) < endpoints && at.Scan(); {
		c, err := beatstats.NewClient(nil, at.Text(), 0)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		sources = append(sources, &Stats{At: "bench", Name: fmt.Sprintf("filebeat-%d", len(sources)), Client: c, Every: time.Second})
	}
	var samples, failures atomic.Int64
	var first atomic.Value
	all := make(chan struct{})
	rec, err := Open(b.TempDir(), timeline.Header{Tool: "bench", Experiment: "bench", Ports: flow.NewPorts(5044)}, func(r timeline.Record) {
		switch {
		case r.Stats != nil && r.Stats.Sample.Acked.OK():
			if samples.Add(1) == endpoints {
				close(all)
			}
		case r.Failure != nil:
			failures.Add(1)
			first.CompareAndSwap(nil, *r.Failure)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	var share, rate float64
	script := func(context.Context) error {
		<-all // connected, and the kind of each is known
		second := time.NewTicker(time.Second)
		defer second.Stop()
		start, cpu, before := time.Now(), cpuTime(), samples.Load()
		for b.Loop() {
			<-second.C
		}
		share = percent(cpuTime()-cpu, time.Since(start))
		rate = float64(samples.Load()-before) / time.Since(start).Seconds()
		return nil
	}
	if err := rec.Run(b.Context(), script, sources...); err != nil {
		b.Error(err)
	}
	if err := rec.Close(timeline.End{Reason: "done"}); err != nil {
		b.Error(err)
	}
	if n := failures.Load(); n > 0 || len(sources) != endpoints {
		b.Errorf("%d readings failed, of %d endpoints; the first: %+v", n, len(sources), first.Load())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(share, "%core")
	b.ReportMetric(rate, "scrapes/s")
	fmt.Printf("\n%d endpoints scraped once a second  %.1f scrapes/s  %.1f %% of one core, %.0f µs a scrape\n", endpoints, rate, share, share/100*1e6/rate)
}
