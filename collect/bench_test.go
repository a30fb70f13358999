package collect

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
	"halfopen/timeline"
)

const (
	// holdEnv makes the test binary a holder of connections: "ADDRESS:PORT COUNT".
	holdEnv = "COLLECT_HOLD"
	// holderMax connections take 18,000 descriptors: on some systems a process
	// may have no more than 20,000.
	holderMax  = 9000
	watched    = 4
	sampleTick = 10 * time.Millisecond
	mostShare  = 2.0 // % of one core
)

func init() {
	spec := os.Getenv(holdEnv)
	if spec == "" {
		return
	}
	if err := hold(spec); err != nil {
		fmt.Fprintln(os.Stderr, "hold connections:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// hold connects to a listener of its own, says "ready", and keeps both ends of
// all connections until its input ends. For each byte of input it sends lines
// through each connection for a second, one a sampleTick.
func hold(spec string) error {
	var at string
	var count int
	if _, err := fmt.Sscan(spec, &at, &count); err != nil {
		return fmt.Errorf("%s=%q: %w", holdEnv, spec, err)
	}
	// 90,000 sockets that probe each other would be a load of their own.
	config, dialer := net.ListenConfig{KeepAlive: -1}, net.Dialer{KeepAlive: -1}
	l, err := config.Listen(context.Background(), "tcp4", at)
	if err != nil {
		return err
	}
	clients, servers := make([]net.Conn, count), make([]net.Conn, count)
	for i := range count {
		if clients[i], err = dialer.Dial("tcp4", at); err != nil {
			return err
		}
		if servers[i], err = l.Accept(); err != nil {
			return err
		}
		// The end is a RST, which leaves no TIME_WAIT behind.
		if err := clients[i].(*net.TCPConn).SetLinger(0); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	line := []byte(strings.Repeat("x", 200) + "\n")
	tick := time.NewTicker(sampleTick)
	defer tick.Stop()
	for in := bufio.NewReader(os.Stdin); ; {
		if _, err := in.ReadByte(); err != nil {
			break
		}
		for range time.Second / sampleTick {
			for i := range count {
				if _, err := clients[i].Write(line); err != nil {
					return err
				}
				if _, err := io.ReadFull(servers[i], make([]byte, len(line))); err != nil {
					return err
				}
			}
			<-tick.C
		}
	}
	for i := range count {
		clients[i].Close()
		servers[i].Close()
	}
	return nil
}

// BenchmarkRecorder records 4 connections, both ends of each in one namespace, a
// hundred times a second, and prints what share of one core that takes: idle, and busy,
// when no two readings are the same; beside it what look-ups alone take. An iteration is
// a hundred readings. The evidence is the whole socket table, read once a minute.
func BenchmarkRecorder(b *testing.B) {
	ns, err := netns.New()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ns.Close() })
	if err := ns.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	}); err != nil {
		b.Fatal(err)
	}
	speak := startHolder(b, ns, "127.0.0.1:5044", watched)
	var table strings.Builder
	sockets, holders := 2*watched+1, 1
	for _, size := range []int{1_000, 18_000, 90_000} {
		for sockets < size {
			n := min((size-sockets+1)/2, holderMax)
			holders++
			startHolder(b, ns, fmt.Sprintf("127.0.0.%d:5045", holders), n)
			sockets += 2*n + 1
		}
		b.Run(fmt.Sprintf("look-ups/%d", size), func(b *testing.B) {
			share, rate := lookUps(b, ns)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(share, "%core")
			fmt.Fprintf(&table, "look-ups alone  %6d sockets  %5.1f readings/s  %.2f %% of one core\n", sockets, rate, share)
		})
		for _, mode := range []string{"idle", "busy"} {
			b.Run(fmt.Sprintf("%s/%d", mode, size), func(b *testing.B) {
				said := io.Discard
				if mode == "busy" {
					said = speak
				}
				following, evidence, rate := record(b, ns, said)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(following, "%core")
				b.ReportMetric(evidence, "%core-evidence")
				b.ReportMetric(rate, "readings/s")
				target := "" // none where every reading is a record of its own
				switch {
				case mode == "busy":
				case following < mostShare && rate > 90:
					target = fmt.Sprintf("under %g %%: PASS", mostShare)
				default:
					target = fmt.Sprintf("under %g %%: MISS", mostShare)
				}
				fmt.Fprintf(&table, "recorder, %s  %6d sockets  %5.1f readings/s  %.2f %% of one core (evidence: %.2f %%)  %s\n",
					mode, sockets, rate, following, evidence, target)
			})
		}
	}
	fmt.Printf("\n%s\n", table.String())
}

// lookUps reads the same sockets as often and keeps nothing: what of a recorder's
// share is the waking up and the kernel's answers. It returns the CPU time, in % of
// one core, and the readings a second.
func lookUps(b *testing.B, ns *netns.NS) (share, rate float64) {
	diag, err := sockstate.OpenDiag(ns, flow.NewPorts(5044))
	if err != nil {
		b.Fatal(err)
	}
	defer diag.Close()
	socks, err := diag.Dump()
	if err != nil {
		b.Fatal(err)
	}
	socks = slices.DeleteFunc(socks, func(s sockstate.Socket) bool { return s.State == sockstate.Listen })
	n := 0
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	start, cpu := time.Now(), cpuTime()
	often(ctx, sampleTick, func() {
		for i := range socks {
			if err := diag.Lookup(&socks[i]); err != nil {
				b.Error(err)
			}
		}
		if n++; n%100 == 0 && !b.Loop() {
			stop()
		}
	})
	took := time.Since(start)
	return percent(cpuTime()-cpu, took), float64(n) / took.Seconds()
}

// record makes a recording in a temporary folder and returns the CPU time it
// took, in % of one core, and the readings a second.
func record(b *testing.B, ns *netns.NS, speak io.Writer) (following, evidence, rate float64) {
	var readings atomic.Int64
	hundred := make(chan struct{}, 1)
	observe := func(r timeline.Record) {
		if r.Sockets == nil {
			return
		}
		more := int64(r.Sockets.Readings)
		if n := readings.Add(more); n/100 > (n-more)/100 {
			select {
			case hundred <- struct{}{}:
			default:
			}
		}
	}
	ports := flow.NewPorts(5044)
	rec, err := Open(b.TempDir(), timeline.Header{Tool: "bench", Experiment: "bench", Ports: ports}, observe)
	if err != nil {
		b.Fatal(err)
	}
	script := func(ctx context.Context) error {
		before := cpuTime()
		rec.Phase(During)
		evidence = percent(cpuTime()-before, keepEvery)

		start, cpu := time.Now(), cpuTime()
		for b.Loop() {
			if _, err := speak.Write([]byte{'.'}); err != nil {
				return err
			}
			select {
			case <-hundred:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		following = percent(cpuTime()-cpu, time.Since(start))
		return nil
	}
	source := &Sockets{At: "bench", NS: ns, Ports: ports, Every: sampleTick}
	start := time.Now()
	if err := rec.Run(b.Context(), script, source); err != nil {
		b.Error(err)
	}
	rate = float64(readings.Load()) / time.Since(start).Seconds()
	if err := rec.Close(timeline.End{Reason: "done"}); err != nil {
		b.Error(err)
	}
	return following, evidence, rate
}

// cpuTime is what this process has used, in user and kernel mode. Holders are
// processes of their own.
func cpuTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func percent(cpu, of time.Duration) float64 { return 100 * float64(cpu) / float64(of) }

func startHolder(b *testing.B, ns *netns.NS, at string, count int) io.Writer {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", holdEnv, at, count))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := ns.Start(cmd); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Errorf("holder: %v", err)
		}
	})
	if _, err := fmt.Fscanln(out, new(string)); err != nil {
		b.Fatalf("wait for a holder: %v", err)
	}
	return in
}
