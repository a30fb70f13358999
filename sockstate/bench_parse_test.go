package sockstate

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/procfs"

	"halfopen/flow"
)

// snapshot copies the table of a crowd to a regular file, so that the kernel's
// part in reading it is not measured.
func snapshot(tb testing.TB, c *crowd) (root string, text []byte) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(c.ns.ProcRoot(), "net", "tcp"))
	if err != nil {
		tb.Fatal(err)
	}
	root = tb.TempDir()
	table(tb, root, "tcp", string(text))
	return root, text
}

// readOurs does what procfs's NetTCP does: it opens the file and parses all of it.
// Through is nil, or hides from the parser that it is a file.
func readOurs(root string, through func(io.Reader) io.Reader, dst []Socket) ([]Socket, error) {
	f, err := os.Open(filepath.Join(root, "net", "tcp"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var text io.Reader = f
	if through != nil {
		text = through(f)
	}
	socks, bad, err := ParseProc(text, nil, dst)
	if len(bad) > 0 {
		err = fmt.Errorf("bad line %s", bad[0])
	}
	return socks, err
}

func readTheirs(root string) (procfs.NetTCP, error) {
	fs, err := procfs.NewFS(root)
	if err != nil {
		return nil, err
	}
	//lint:ignore SA1019 it is what the parser is compared with
	return fs.NetTCP()
}

// measureParsers compares ParseProc with procfs's parser, on the same text.
func measureParsers(b *testing.B, c *crowd, table *ratios) {
	root, text := snapshot(b, c)
	sockets := c.inUse(b)
	mine, err := readOurs(root, nil, nil)
	if err := expect(len(mine), sockets, err); err != nil {
		b.Fatal(err)
	}
	theirs, err := readTheirs(root)
	if err != nil {
		b.Fatal(err)
	}
	if err := same(mine, theirs); err != nil {
		b.Fatal(err)
	}
	runs := max(1, 20_000/sockets)
	stream := func(r io.Reader) io.Reader { return struct{ io.Reader }{r} }
	ours := contender{times: runs, run: func() error { _, err := readOurs(root, nil, nil); return err }}
	sizeless := contender{times: runs, run: func() error { _, err := readOurs(root, stream, nil); return err }}
	again := contender{times: runs, run: func() error { mine, err = readOurs(root, nil, mine[:0]); return err }}
	rival := contender{times: runs, run: func() error { _, err := readTheirs(root); return err }}
	race(b, &ours, &sizeless, &again, &rival)
	allocs := testing.AllocsPerRun(3, func() { ours.run() })
	rivalAllocs := testing.AllocsPerRun(3, func() { rival.run() })

	b.ReportMetric(float64(len(text))/1e6/ours.median().Seconds(), "MB/s")
	b.ReportMetric(allocs, "allocs/table")
	table.faster("parser, procfs", sockets, &ours, &rival, 3)
	table.faster("parser into the same slice, procfs", sockets, &again, &rival, 3)
	table.faster("parser of a stream of unknown size, procfs", sockets, &sizeless, &rival, 0)
	table.atMost("parser, allocations : procfs", sockets, fmt.Sprint(allocs), fmt.Sprint(rivalAllocs), allocs/rivalAllocs, 1.0/20)
}

// same compares the columns that procfs has.
func same(ours []Socket, theirs procfs.NetTCP) error {
	if len(ours) != len(theirs) {
		return fmt.Errorf("%d sockets here, %d there", len(ours), len(theirs))
	}
	for i, s := range ours {
		p := theirs[i]
		local, _ := netip.AddrFromSlice(p.LocalAddr)
		remote, _ := netip.AddrFromSlice(p.RemAddr)
		f := flow.New(netip.AddrPortFrom(local, uint16(p.LocalPort)), netip.AddrPortFrom(remote, uint16(p.RemPort)))
		if s.Flow != f || uint64(s.State) != p.St || uint64(s.SendQ) != p.TxQueue || uint64(s.RecvQ) != p.RxQueue ||
			uint64(s.UID) != p.UID || uint64(s.Inode) != p.Inode {
			return fmt.Errorf("row %d: %+v here, %+v there", i, s, *p)
		}
	}
	return nil
}

// ParseProc is worth its code only while it allocates a small part of what
// procfs does.
func TestParseProcAllocatesLittle(t *testing.T) {
	root, text := snapshot(t, crowdOf(t, 1_000))
	theirs := testing.AllocsPerRun(5, func() {
		if _, err := readTheirs(root); err != nil {
			t.Error(err)
		}
	})
	ours := testing.AllocsPerRun(5, func() { ParseProc(bytes.NewReader(text), nil, nil) })
	if ours*20 > theirs {
		t.Errorf("%v allocations, procfs %v", ours, theirs)
	}
}
