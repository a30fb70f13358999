package collect

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"halfopen/flow"
	"halfopen/logtail"
	"halfopen/middlebox"
	"halfopen/netns"
	"halfopen/timeline"
)

// tracked has a namespace track its connections.
func tracked(t *testing.T, ns *netns.NS) *middlebox.Conntrack {
	t.Helper()
	const rules = "table inet tracks { chain input { type filter hook input priority 0; ct state new accept; }; }\n"
	err := ns.Do(func() error {
		nft := exec.Command("nft", "-f", "-")
		nft.Stdin = strings.NewReader(rules)
		return nft.Run()
	})
	if err != nil {
		t.Fatalf("have connections tracked (needs nft): %v", err)
	}
	table, err := middlebox.OpenConntrack(ns, flow.NewPorts(5044))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Close() })
	return table
}

// The entries of a busy NAT are more than a line of the timeline holds: the first of
// them are recorded, and it is said how many there were.
func TestConntrackOnceOfCrowd(t *testing.T) {
	ns, l := inside(t)
	c := &Conntrack{At: "router", Table: tracked(t, ns)}
	const most = maxSingle + 20
	err := ns.Do(func() error {
		// Else a slow machine sees the first of them go, in seconds.
		if err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait", []byte("3600"), 0); err != nil {
			return err
		}
		for n := range most { // each from a port of its own: after a minute the kernel would give one a second time
			from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 10_000 + n}}
			client, err := from.Dial("tcp4", l.Addr().String())
			if err != nil {
				return err
			}
			server, err := l.Accept()
			if err != nil {
				return err
			}
			client.Close()
			server.Close()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	o := observe(t)
	if err := o.Once(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	readings := o.all(func(k timeline.Record) bool { return k.Conntrack != nil })
	told := o.all(func(k timeline.Record) bool {
		return k.Failure != nil && k.Failure.Source == "conntrack of router" && strings.Contains(k.Failure.Error, "10020 entries")
	})
	if len(readings) != 1 || len(readings[0].Conntrack.Entries) != maxSingle || len(told) != 1 {
		t.Fatalf("%d readings, the first of %d entries; told %d times", len(readings), len(readings[0].Conntrack.Entries), len(told))
	}
	if !slices.IsSortedFunc(readings[0].Conntrack.Entries, byAddress) {
		t.Error("not the first by address")
	}
	if lost := o.all(func(k timeline.Record) bool { return k.Gap != nil }); len(lost) > 0 {
		t.Errorf("lost %+v", lost[0].Gap)
	}
}

// What hangs is named itself, not the process that it is of.
func TestOnceNamesWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // who is named hangs on milliseconds
		o := observe(t)
		hang := make(chan struct{})
		t.Cleanup(func() { close(hang) })
		hangs := func(context.Context, logtail.Config, logtail.Handler) error { <-hang; return nil }
		f := &Following{
			Name: "filebeat", At: "shipper",
			Watch: func(ctx context.Context, each func(Process)) error {
				each(Process{Running: true, Logs: []string{"/a.log"}})
				<-ctx.Done()
				return nil
			},
			NewLog: func(_ int, path string) *Logs { return &Logs{Name: "filebeat", Path: path, Follow: hangs} },
			Open:   func(Process) ([]Source, func(), error) { return nil, func() {}, nil },
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := o.Once(ctx, f); !errors.Is(err, ErrTime) {
			t.Errorf("%v", err)
		}
		failed := o.all(func(k timeline.Record) bool { return k.Failure != nil })
		if len(failed) != 1 || failed[0].Failure.Source != "log of filebeat" || failed[0].Failure.Error != ErrTime.Error() {
			for _, k := range failed {
				t.Errorf("%+v", *k.Failure)
			}
		}
	})
}
