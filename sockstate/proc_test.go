package sockstate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/procfs"

	"halfopen/flow"
)

var sameAddr = cmpopts.EquateComparable(netip.AddrPort{})

const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n"

func between(local, remote string) flow.Flow {
	return flow.New(netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote))
}

// The rows were recorded on little-endian machines, as are all that tests run on.
var rows = []struct {
	name, text string
	want       Socket
}{{
	"half-open, 8 retransmissions",
	"   1: 0200320A:823E 0200330A:13B4 01 000003EA:00000000 01:00001232 00000008     0        0 18485 3 00000000b2f655aa 5222 4 30 1 -1                    ",
	Socket{
		Flow: between("10.50.0.2:33342", "10.51.0.2:5044"), State: Established,
		Timer: TimerRetransmit, TimerIn: 46580 * time.Millisecond, Retransmits: 8, SendQ: 1002, Inode: 18485,
		Proc: &ProcCols{Ref: 3, Retransmits: 8, RTO: 52220 * time.Millisecond, ATO: 40 * time.Millisecond, QuickAcks: 15, Cwnd: 1},
	},
}, {
	"listener: its last column is no slow start threshold",
	"   0: 00000000:13B4 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 1077 1 000000004432b3e0 100 0 0 10 0                      ",
	Socket{
		Flow: between("0.0.0.0:5044", "0.0.0.0:0"), State: Listen, RecvQ: 3, UID: 1000, Inode: 1077,
		Proc: &ProcCols{Ref: 1, RTO: time.Second, Cwnd: 10},
	},
}, {
	"minisocket: ends after the pointer",
	"   1: 0100007F:C610 0100007F:A69F 06 00000000:00000000 03:000010D0 00000000     0        0 0 3 00000000523999a0                                      ",
	Socket{Flow: between("127.0.0.1:50704", "127.0.0.1:42655"), State: TimeWait, Timer: TimerTimeWait, TimerIn: 43040 * time.Millisecond},
}, {
	"Java receiver in tcp6, mapped addresses unmapped, window probes counted",
	"  12: 0000000000000000FFFF00000200330A:13B4 0000000000000000FFFF00000200320A:823E 01 0000000A:00000006 04:00000014 00000000   999        3 18486 2 0000000000000000 21 4 31 10 7",
	Socket{
		Flow: between("10.51.0.2:5044", "10.50.0.2:33342"), State: Established,
		Timer: TimerProbe, TimerIn: 200 * time.Millisecond, Retransmits: 3, SendQ: 10, RecvQ: 6, UID: 999, Inode: 18486,
		Proc: &ProcCols{
			Ref: 2, Probes: 3, RTO: 210 * time.Millisecond, ATO: 40 * time.Millisecond,
			QuickAcks: 15, PingPong: true, Cwnd: 10, Ssthresh: Some(uint32(7)),
		},
	},
}, {
	"IPv6",
	"   0: B80D0120000000000000000001000000:823E B80D0120000000000000000002000000:13B4 02 00000001:00000000 01:00000062 00000000     0        0 900 2 00000000b2f655aa 100 0 0 1 -1",
	Socket{
		Flow: between("[2001:db8::1]:33342", "[2001:db8::2]:5044"), State: SynSent,
		Timer: TimerRetransmit, TimerIn: 980 * time.Millisecond, SendQ: 1, Inode: 900,
		Proc: &ProcCols{Ref: 2, RTO: time.Second, Cwnd: 1},
	},
}, {
	"connection request under its internal number, pointer hidden, longest numbers",
	"4294967295: FFFFFFFF:FFFF FFFFFFFF:FFFF 0C FFFFFFFF:FFFFFFFF 01:00000000 FFFFFFFF 4294967295        0 4294967295 1 (____ptrval____)",
	Socket{
		Flow: between("255.255.255.255:65535", "255.255.255.255:65535"), State: SynRecv,
		Timer: TimerRetransmit, Retransmits: 1<<32 - 1, SendQ: 1<<32 - 1, RecvQ: 1<<32 - 1, UID: 1<<32 - 1, Inode: 1<<32 - 1,
	},
}}

func TestParseProcRows(t *testing.T) {
	text := header
	var all []Socket
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, bad, err := ParseProc(strings.NewReader(header+row.text+"\n"), nil, nil)
			if err != nil || len(bad) > 0 {
				t.Fatal(bad, err)
			}
			if diff := cmp.Diff([]Socket{row.want}, got, sameAddr); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
		text += row.text + "\n"
		all = append(all, row.want)
	}
	// Both tables in one text, and a dst that has something already.
	got, bad, err := ParseProc(strings.NewReader(text+text), flow.NewPorts(5044).Match, all[:1:1])
	if err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	watched := []Socket{all[0], all[1], all[3], all[4]}
	want := append(append(all[:1:1], watched...), watched...)
	if diff := cmp.Diff(want, got, sameAddr); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseProcBadLines(t *testing.T) {
	good := rows[0].text
	cases := []struct{ text, why string }{
		{"", "no number in column sl"},
		{"garbage", "no number in column sl"},
		{"   1", "bad value in column sl"},
		{"   1:", "want 8 or 32 hexadecimal digits and a port in column local_address"},
		{strings.Replace(good, "0200320A", "0200320", 1), "want 8 or 32 hexadecimal digits and a port in column local_address"},
		{strings.Replace(good, "0200320A", "020032XA", 1), "bad digit in column local_address"},
		{"1: 0200320A", "want 8 or 32 hexadecimal digits and a port in column local_address"},
		{strings.Replace(good, "13B4", "13B4F", 1), "want 8 or 32 hexadecimal digits and a port in column rem_address"},
		{strings.Replace(good, "13B4", "13B ", 1), "bad digit in column rem_address"},
		{strings.Replace(good, " 01 0000", " 00 0000", 1), "no such state in column st"},
		{strings.Replace(good, " 01 0000", " 0D 0000", 1), "no such state in column st"},
		{strings.Replace(good, "000003EA:", "1000003EA:", 1), "bad width from column st to retrnsmt"},
		{strings.Replace(good, "000003EA:", "0000O3EA:", 1), "bad digit from column st to retrnsmt"},
		{strings.Replace(good, "01:00001232", "01:FFFFFFFFFFFFFFFF", 1), "bad width from column st to retrnsmt"},
		{strings.Replace(good, "18485", "4294967296", 1), "too large a number in column inode"},
		{strings.Replace(good, "18485", "-1", 1), "no number in column inode"},
		{good[:strings.Index(good, "00000000b2")], "nothing in column pointer"},
		{good[:strings.Index(good, "5222")], "nothing in column rto"},
		{good[:strings.Index(good, "30 1 -1")], "no number in column quick and pingpong"},
		{strings.Replace(good, "-1", "-x", 1), "no number in column ssthresh"},
		{"1: " + strings.Repeat("A", 2*lineMax), "line too long"},
	}
	for _, c := range cases {
		got, bad, err := ParseProc(strings.NewReader(header+good+"\n"+c.text+"\n"+good+"\n"), nil, nil)
		if err != nil || len(got) != 2 || len(bad) != 1 {
			t.Errorf("%.60q: %d sockets, bad lines %v, error %v", c.text, len(got), bad, err)
			continue
		}
		want := BadLine{Line: 3, Text: c.text[:min(len(c.text), badTextMax)], Why: c.why}
		if bad[0] != want {
			t.Errorf("got  %+v\nwant %+v", bad[0], want)
		}
	}
}

// Cut anywhere, whole rows are read and the rest is told, never taken for a row.
func TestParseProcCutAnywhere(t *testing.T) {
	row := rows[0].text + "\n"
	text := header + row + row
	for n := range text {
		socks, bad, err := ParseProc(strings.NewReader(text[:n]), nil, nil)
		whole := max(0, n-len(header)) / len(row)
		clean := n == 0 || text[n-1] == '\n'
		if err != nil || len(socks) != whole || clean != (len(bad) == 0) {
			t.Fatalf("first %d bytes: %d sockets, want %d; bad lines %v, error %v", n, len(socks), whole, bad, err)
		}
	}
}

func TestParseProcReadError(t *testing.T) {
	broken := errors.New("broken")
	text := header + rows[0].text + "\n" + rows[0].text
	socks, bad, err := ParseProc(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), nil, nil)
	if len(socks) != 1 || len(bad) != 1 || !errors.Is(err, broken) {
		t.Errorf("%d sockets, bad lines %v, error %v", len(socks), bad, err)
	}
}

func TestReadProcWithoutTables(t *testing.T) {
	root := t.TempDir()
	if _, _, err := ReadProc(root, flow.NewPorts(testPort)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no tables: error %v", err)
	}
	table(t, root, "tcp", header+rows[0].text+"\n"+"garbage\n")
	socks, bad, err := ReadProc(root, flow.NewPorts(testPort))
	if err != nil || len(socks) != 1 || len(bad) != 1 || bad[0].String() != `tcp:3: no number in column sl: "garbage"` {
		t.Errorf("no tcp6: %d sockets, bad lines %v, error %v", len(socks), bad, err)
	}
}

func table(t testing.TB, root, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(root, "net"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "net", name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRawProcKeepsTheRowsOfThePorts(t *testing.T) {
	root := t.TempDir()
	table(t, root, "tcp", header+rows[0].text+"\n"+rows[2].text+"\ngarbage\n")
	table(t, root, "tcp6", header+rows[3].text+"\n")
	raw, err := RawProc(root, flow.NewPorts(testPort))
	if err != nil {
		t.Fatal(err)
	}
	want := header + rows[0].text + "\ngarbage\n" + header + rows[3].text + "\n"
	if diff := cmp.Diff(want, string(raw)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Each digit at each place, and each byte that is none.
func TestHexWord(t *testing.T) {
	for place := range 8 {
		for b := range 256 {
			text := []byte("00000000")
			text[place] = byte(b)
			want, err := strconv.ParseUint(string(text), 16, 32)
			if b == '_' || b == '+' || b == '-' { // ParseUint's own business
				err = strconv.ErrSyntax
			}
			if n, ok := hexWord(binary.BigEndian.Uint64(text)); ok != (err == nil) || ok && uint64(n) != want {
				t.Errorf("%q is %X, %v; want %X, %v", text, n, ok, want, err)
			}
		}
	}
	if n, ok := hexWord(binary.BigEndian.Uint64([]byte("89abCDeF"))); n != 0x89abcdef || !ok {
		t.Errorf("89abCDeF is %X, %v", n, ok)
	}
}

// One address as machines of either byte order print it (10.50.0.2 and
// 2001:db8::2), and this machine's own order against the kernel's.
func TestAddressInBothByteOrders(t *testing.T) {
	for _, c := range []struct{ want, little, big string }{
		{"10.50.0.2", "0200320A", "0A320002"},
		{"2001:db8::2", "B80D0120000000000000000002000000", "20010DB8000000000000000000000002"},
		{"::ffff:10.51.0.2", "0000000000000000FFFF00000200330A", "00000000000000000000FFFF0A330002"},
	} {
		for _, order := range []struct {
			big  bool
			text string
		}{{false, c.little}, {true, c.big}} {
			if got, ok := address([]byte(order.text), order.big); !ok || got != netip.MustParseAddr(c.want) {
				t.Errorf("big-endian %v: %s is %s, want %s", order.big, order.text, got, c.want)
			}
		}
	}
	ns := private(t)
	for _, at := range []string{"127.1.2.3:5044", "[::ffff:127.3.2.1]:5044", "[::1]:5044"} {
		listen(t, ns, netip.MustParseAddrPort(at))
		socks, bad, err := ReadProc(ns.ProcRoot(), flow.NewPorts(testPort))
		if err != nil || len(bad) > 0 {
			t.Fatal(bad, err)
		}
		mine := func(s Socket) bool { return s.Local == between(at, at).Local }
		if !slices.ContainsFunc(socks, mine) {
			t.Errorf("%s is not among %v", at, socks)
		}
	}
}

// A file's size is a hint, never a promise: a sparse file claims what it does not
// hold, and no size at all is no hindrance.
func TestParseProcOfAnySize(t *testing.T) {
	root := t.TempDir()
	table(t, root, "tcp", header+rows[0].text+"\n")
	path := filepath.Join(root, "net", "tcp")
	parse := func() []Socket {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		socks, _, err := ParseProc(f, nil, nil)
		if err != nil || len(socks) != 1 {
			t.Fatalf("%d sockets, error %v", len(socks), err)
		}
		return socks
	}
	parse()
	if err := os.Truncate(path, 200<<20); err != nil { // zeros, which are one long line
		t.Fatal(err)
	}
	if socks := parse(); cap(socks) > roomMax {
		t.Errorf("room for %d sockets", cap(socks))
	}
	text := header + strings.Repeat(rows[0].text+"\n", 1000)
	if socks, bad, err := ParseProc(strings.NewReader(text), nil, nil); len(socks) != 1000 || len(bad) > 0 || err != nil {
		t.Errorf("%d sockets, bad lines %v, error %v", len(socks), bad, err)
	}
}

// The same files through prometheus/procfs: equal in all columns that it has.
func TestParseProcEqualsProcfs(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			ns := private(t)
			silence(t, ns)
			everyState(t, ns, k)
			root := t.TempDir()
			for _, name := range tables {
				text, err := os.ReadFile(filepath.Join(ns.ProcRoot(), "net", name))
				if err != nil {
					t.Fatal(err)
				}
				table(t, root, name, string(text))
			}
			fs, err := procfs.NewFS(root)
			if err != nil {
				t.Fatal(err)
			}
			//lint:ignore SA1019 it is what the parser is compared with
			tcp, err := fs.NetTCP()
			if err != nil {
				t.Fatal(err)
			}
			//lint:ignore SA1019 it is what the parser is compared with
			tcp6, err := fs.NetTCP6()
			if err != nil {
				t.Fatal(err)
			}
			theirs := append(tcp, tcp6...)
			var ours []Socket
			for _, name := range tables {
				f, err := os.Open(filepath.Join(root, "net", name))
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				var bad []BadLine
				if ours, bad, err = ParseProc(f, nil, ours); err != nil || len(bad) > 0 {
					t.Fatal(bad, err)
				}
			}
			if len(ours) < 20 || len(ours) != len(theirs) {
				t.Fatalf("%d sockets here, %d there", len(ours), len(theirs))
			}
			for i, s := range ours {
				p := theirs[i]
				local, _ := netip.AddrFromSlice(p.LocalAddr)
				remote, _ := netip.AddrFromSlice(p.RemAddr)
				f := flow.New(netip.AddrPortFrom(local, uint16(p.LocalPort)), netip.AddrPortFrom(remote, uint16(p.RemPort)))
				if s.Flow != f || uint64(s.State) != p.St || uint64(s.SendQ) != p.TxQueue || uint64(s.RecvQ) != p.RxQueue ||
					uint64(s.UID) != p.UID || uint64(s.Inode) != p.Inode {
					t.Errorf("row %d: %+v here, %+v there", i, s, *p)
				}
			}
		})
	}
}

func FuzzParseProc(f *testing.F) {
	for _, row := range rows {
		f.Add([]byte(header + row.text + "\n"))
		f.Add([]byte(row.text))
	}
	live, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(live)
	f.Fuzz(func(t *testing.T, text []byte) {
		socks, bad, err := ParseProc(bytes.NewReader(text), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(text, []byte("\n")) + 1; len(socks)+len(bad) > lines {
			t.Fatalf("%d sockets and %d bad lines from %d lines", len(socks), len(bad), lines)
		}
		for _, s := range socks {
			if s.TimerIn < 0 || s.State < Established || s.State > Closing || !s.Local.IsValid() {
				t.Fatalf("impossible socket %+v", s)
			}
		}
		for _, b := range bad {
			if len(b.Text) > badTextMax || b.Why == "" {
				t.Fatalf("bad line %+v", b)
			}
		}
	})
}
