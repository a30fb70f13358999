package main

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"halfopen/beatstats"
	"halfopen/clock"
	"halfopen/discover"
	"halfopen/flow"
	"halfopen/netns"
	"halfopen/sockstate"
	"halfopen/timeline"
	"halfopen/verdict"
)

// visiting is a visit of some wards whose sockets are read from this process's own
// namespace.
func visiting(timeout time.Duration, n int) (*visit, []*ward) {
	v := &visit{o: &checkupOptions{timeout: timeout, th: verdict.Defaults()}, asking: timeout, began: time.Now(), mono: clock.Mono(),
		ports: flow.NewPorts(5044), owners: map[uint32]sockstate.Owner{}, doing: map[string]bool{}}
	for i := range n {
		name := fmt.Sprintf("filebeat-%d", i)
		v.wards = append(v.wards, &ward{subject: &subject{name: name, place: timeline.Place{Name: name, Role: discover.Shipper}},
			view: view{name: name, root: "/proc/self"}, kin: map[int]bool{}})
	}
	return v, v.wards
}

// What to do about a shipper whose sockets were not read goes by the reason.
func TestCheckNextUnseen(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"refused":        {notEntered(fmt.Errorf("enter: %w", syscall.EPERM)), "run it as root"},
		"not readable":   {&fs.PathError{Op: "open", Path: "/proc/1/net/tcp", Err: syscall.EACCES}, "run it as root"},
		"stopped":        {errStopped, "start it"},
		"ended":          {&fs.PathError{Op: "open", Path: "/proc/1/net/tcp", Err: syscall.ENOENT}, "the process has ended"},
		"something else": {syscall.EIO, "run it again"},
		"time ran out":   {nil, "--timeout"},
	} {
		v, wards := visiting(time.Second, 1)
		if c.err != nil {
			wards[0].looks = []sight{{table: table{began: v.mono, at: v.began, err: c.err}}}
		}
		s := v.judge().Shippers[0]
		if s.Health != verdict.Untold || !strings.Contains(s.Next, c.want) || c.want != "run it as root" && strings.Contains(s.Next, "root") {
			t.Errorf("%s: %s: %s; want %q", name, s.Why, s.Next, c.want)
		}
	}
}

// However many endpoints hang, they are waited for once, and the others answer.
func TestCheckHungEndpoints(t *testing.T) {
	t.Parallel()
	hung, err := net.Listen("tcp", "127.0.0.1:0") // its kernel connects, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	well := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"libbeat":{"output":{"events":{"acked":49,"active":0}},"pipeline":{"events":{"active":0}}}}`)
	}))
	defer well.Close()
	ns, err := netns.Open("")
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	v, wards := visiting(40*time.Second, 40)
	for i, w := range wards {
		endpoint := hung.Addr().String()
		if i == len(wards)-1 {
			endpoint = well.Listener.Addr().String()
		}
		if w.client, err = beatstats.NewClient(ns, endpoint, v.asks()); err != nil {
			t.Fatal(err)
		}
		defer w.client.Close()
	}
	began := time.Now()
	v.round(t.Context(), wards)
	if took, most := time.Since(began), 3*v.asks(); took > most {
		t.Errorf("took %s, with %s for the counters: want at most %s", took, v.asks(), most)
	}
	for i, w := range wards {
		answers := i == len(wards)-1
		if len(w.looks) != 1 || w.looks[0].table.err != nil || (w.looks[0].hung == "") != answers || (w.looks[0].stats.Stats != nil) != answers {
			t.Fatalf("ward %d: %+v", i, w.looks)
		}
	}
	if c := v.judge(); len(c.Shippers) != len(wards) || len(c.Partial) != len(wards)-1 || c.Health != verdict.Untold {
		t.Errorf("%s: %d shippers, %d of them marked", c.Health, len(c.Shippers), len(c.Partial))
	}
}

// A shipper that ended between the readings is not called well for the first.
func TestCheckProcessEnded(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	v, wards := visiting(time.Second, 1)
	wards[0].program.PID, wards[0].program.StartTime = gone.Process.Pid, 1
	wards[0].looks = []sight{{table: table{began: v.mono, at: v.began, via: "diag"}}}
	if s := v.judge().Shippers[0]; s.Health != verdict.Untold || !strings.Contains(s.Why, "ended") || s.Count != nil {
		t.Errorf("%+v", s)
	}
}
