package sockstate

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// sizes are the numbers of sockets to measure among, in rising order, and how
// many times faster than its rivals each reading shall be there; 0 is no target.
var sizes = []struct {
	sockets                  int
	lookupSS, dumpSS, dumpFS float64
}{
	{sockets: 1_000},
	{18_000, 1000, 3, 30},
	{90_000, 0, 2, 30},
}

// BenchmarkRivals measures each way to read sockets against its rivals and
// prints a table of the ratios. All take turns: an iteration is one turn of
// each, and figures are medians over the iterations, so that "-benchtime 11x"
// is eleven turns.
func BenchmarkRivals(b *testing.B) {
	var table ratios
	var lookups []time.Duration
	c := crowdOf(b, sizes[0].sockets)
	for i, size := range sizes {
		c.grow(b, size.sockets)
		b.Run(fmt.Sprintf("kernel/%d", size.sockets), func(b *testing.B) {
			k := openKernel(b, c)
			k.measure(b, &table, i)
			lookups = append(lookups, k.lookup.median())
		})
		b.Run(fmt.Sprintf("parse/%d", size.sockets), func(b *testing.B) { measureParsers(b, c, &table) })
	}
	if len(lookups) > 1 {
		fast, slow := slices.Min(lookups), slices.Max(lookups)
		table.atMost("look-up, slowest size : fastest size", c.sockets, short(slow), short(fast), float64(slow)/float64(fast), 1.25)
	}
	table.print(os.Stdout)
}

// kernel are the ways to ask the kernel.
type kernel struct {
	lookup, call contender // one connection: end to end; the bare system calls
	dump         contender // all of the port
	procfs, ss   contender
	noSS         bool
	sockets      int
}

func openKernel(b *testing.B, c *crowd) *kernel {
	d := openDiag(b, c.ns, testPort)
	s := one(b, d, Established, testPort)
	fs, err := procfs.NewFS(c.ns.ProcRoot())
	if err != nil {
		b.Fatal(err)
	}
	k := &kernel{sockets: c.inUse(b)}
	k.lookup = contender{times: 2000, run: func() error { return d.Lookup(&s) }}
	k.call = contender{times: 2000, run: bareCall(b, c, d, s)}
	k.dump = contender{times: 5, run: func() error {
		socks, err := d.Dump()
		return expect(len(socks), 2*watched+1, err)
	}}
	k.procfs = contender{times: 1, run: func() error {
		//lint:ignore SA1019 it is what discovery is compared with
		socks, err := fs.NetTCP()
		return expect(len(socks), k.sockets, err)
	}}
	if _, err := exec.LookPath("ss"); err != nil {
		k.noSS = true
		fmt.Println("ss not installed")
		return k
	}
	port := fmt.Sprint(testPort)
	k.ss = ssContender(b, c, 2*watched, "-tani", "dport", "=", port, "or", "sport", "=", port)
	return k
}

func (k *kernel) measure(b *testing.B, table *ratios, size int) {
	field := []*contender{&k.lookup, &k.call, &k.dump, &k.procfs}
	if !k.noSS {
		field = append(field, &k.ss)
	}
	race(b, field...)
	allocs := testing.AllocsPerRun(1000, func() { k.lookup.run() })
	b.ReportMetric(float64(k.lookup.median()), "ns/lookup")
	b.ReportMetric(allocs, "allocs/lookup")
	b.ReportMetric(float64(k.dump.median()), "ns/dump")

	ours, floor := k.lookup.median(), k.call.median()
	table.atMost("look-up : bare system calls", k.sockets, short(ours), short(floor), float64(ours)/float64(floor), 2)
	table.atMost("look-up, allocations", k.sockets, fmt.Sprint(allocs), "", allocs, 0)
	if !k.noSS {
		table.faster("look-up, ss", k.sockets, &k.lookup, &k.ss, sizes[size].lookupSS)
		table.faster("discovery, ss", k.sockets, &k.dump, &k.ss, sizes[size].dumpSS)
	}
	table.faster("discovery, procfs", k.sockets, &k.dump, &k.procfs, sizes[size].dumpFS)
}

func expect(got, want int, err error) error {
	if err == nil && got != want {
		err = fmt.Errorf("found %d sockets, want %d", got, want)
	}
	return err
}

// bareCall is the floor of a look-up: the same message written, the answer read,
// nothing done with it.
func bareCall(b *testing.B, c *crowd, d *Diag, s Socket) func() error {
	var fd int
	inside(b, c.ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
		return err
	})
	b.Cleanup(func() { unix.Close(fd) })
	d.putLookup(&s)
	request, reply := bytes.Clone(d.request[:]), make([]byte, len(d.reply))
	return func() error {
		if _, err := unix.Write(fd, request); err != nil {
			return err
		}
		_, err := unix.Read(fd, reply)
		return err
	}
}

// ssContender lists connections as one does by hand; so many of them there are.
func ssContender(b *testing.B, c *crowd, connections int, args ...string) contender {
	run := func(out *bytes.Buffer) error {
		cmd := exec.Command("ss", args...)
		cmd.Stderr = os.Stderr
		if out != nil { // otherwise /dev/null
			cmd.Stdout = out
		}
		if err := c.ns.Start(cmd); err != nil {
			return err
		}
		return cmd.Wait()
	}
	var listing bytes.Buffer
	err := run(&listing)
	if err := expect(bytes.Count(listing.Bytes(), []byte("ESTAB")), connections, err); err != nil {
		b.Fatalf("ss %v: %v:\n%s", args, err, &listing)
	}
	return contender{times: 3, run: func() error { return run(nil) }}
}
