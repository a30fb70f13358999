package main

import (
	"os"
	"strings"
	"testing"

	"halfopen/discover"
	"halfopen/timeline"
)

// What is in a namespace that is named decides its role: three of them are no three
// shippers.
func TestNamedNamespaces(t *testing.T) {
	t.Parallel()
	near, far, between := host(t), host(t), host(t)
	wire(t, near, far)
	shipping(t, near, far, "10.52.0.2")
	if err := between.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }); err != nil {
		t.Fatal(err)
	}
	o := recordOptions{netns: []string{nsPath(near), nsPath(far), nsPath(between)}}
	list, _, err := chooseSubjects(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{discover.Shipper, discover.Receiver, timeline.Router} {
		if got := list[i].program.Role; got != want {
			t.Errorf("%s is a %s, want %s", list[i].what(), got, want)
		}
	}
	o.netns = o.netns[2:]
	if list, _, err = chooseSubjects(t.Context(), o); err != nil || list[0].program.Role != discover.Shipper {
		t.Errorf("the only one: %v, %+v", err, list)
	}
	// A check judges the shipper alone.
	c, code := checked(t, "--netns", nsPath(near), "--netns", nsPath(far), "--netns", nsPath(between))
	if code != exitOK || len(c.Shippers) != 1 || !strings.Contains(c.Shippers[0].What, nsPath(near)) {
		t.Errorf("exit code %d, %+v", code, c.Shippers)
	}
}
