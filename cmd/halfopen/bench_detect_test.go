package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"halfopen/clock"
	"halfopen/collect"
	"halfopen/fault"
	"halfopen/flow"
	"halfopen/lab"
	"halfopen/timeline"
	"halfopen/verdict"
)

const (
	underLoad  = 16 // connections
	loadEvery  = 250 * time.Millisecond
	loadBatch  = 10_000 // bytes, 50 lines or so
	loadBefore = 10 * time.Second
	detectGoal = 3 * time.Second
)

// BenchmarkDetect cuts connections under load, on the path, at a moment that is
// another one for each, and prints how long after its last ACK each is known to get
// no answer any more: from the kernel alone, by the sockets that a recorder in its
// usual pace reads. An iteration is a turn with connections of its own. A connection
// that is called so before it is cut fails it.
func BenchmarkDetect(b *testing.B) {
	p := newBedPair(b)
	var took []time.Duration
	for b.Loop() {
		took = append(took, detect(b, p)...)
	}
	slices.Sort(took)
	worst, median := took[len(took)-1], took[len(took)/2]
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median.Seconds(), "s-median")
	b.ReportMetric(worst.Seconds(), "s-worst")
	mark := "PASS"
	if worst >= detectGoal {
		mark = "MISS"
	}
	fmt.Printf("\nhalf-open under load, last ACK to known: %d connections, median %.2f s, worst %.2f s  under %s: %s\n", len(took), median.Seconds(), worst.Seconds(), detectGoal, mark)
	fmt.Println("alone, Filebeat notices after 30 s by its default timeout, 5 min where that is set so, 938 s where only the kernel gives up (tcp_retries2 = 15)")
}

// detect is a turn: how long each connection took to be known.
func detect(b *testing.B, p *bedPair) (took []time.Duration) {
	var mu sync.Mutex
	var cut bool
	known := make(chan struct{})
	outages := verdict.Outages{Thresholds: verdict.Defaults()}
	rec, err := collect.Open(b.TempDir(), timeline.Header{Tool: "bench", Experiment: "bench", Ports: flow.NewPorts(shipPort)}, func(r timeline.Record) {
		if r.Sockets == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, o := range outages.Add(r.Sockets.Sockets) {
			if !cut {
				b.Errorf("before the cut: %s: %s", o.Flow, o.Text)
			}
			took = append(took, o.For+clock.Mono()-(r.Mono-r.Took))
			if len(took) == underLoad {
				close(known)
			}
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	script := func(ctx context.Context) error {
		ctx, stop := context.WithCancel(ctx)
		var senders sync.WaitGroup
		defer senders.Wait()
		defer stop()
		for i := range underLoad {
			client, server, err := p.dial(5 * time.Second)
			if err != nil {
				return err
			}
			go io.Copy(io.Discard, server)
			senders.Go(func() { send(ctx, client, time.Duration(i)*loadEvery/underLoad) })
		}
		if err := wait(ctx, loadBefore); err != nil {
			return err
		}
		f, err := fault.Open(fault.Config{NS: p.bed.Router, Method: fault.Link, Ports: flow.NewPorts(shipPort), Interface: lab.RouterLink})
		if err != nil {
			return err
		}
		defer f.Close()
		mu.Lock()
		cut = true
		mu.Unlock()
		if _, err := f.Cut(); err != nil {
			return err
		}
		select {
		case <-known:
			return nil
		case <-time.After(time.Minute):
			return fmt.Errorf("not all connections were known to be silent within a minute")
		}
	}
	if err := rec.Run(b.Context(), script, &collect.Sockets{At: timeline.Shipper, NS: p.bed.Shipper, Ports: flow.NewPorts(shipPort), Every: socketsEvery}); err != nil {
		b.Fatal(err)
	}
	if err := rec.Close(timeline.End{Reason: timeline.EndDone}); err != nil {
		b.Fatal(err)
	}
	return took
}

// send sends a batch now and then, from its own moment on.
func send(ctx context.Context, c net.Conn, from time.Duration) {
	defer c.Close()
	if wait(ctx, from) != nil {
		return
	}
	for batch := make([]byte, loadBatch); wait(ctx, loadEvery) == nil; {
		if _, err := c.Write(batch); err != nil {
			return
		}
	}
}
