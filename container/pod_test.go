package container_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"halfopen/timeline"
)

// Two containers of one network namespace, as in a pod: what it has is read once,
// for both, and goes on when either is made anew. The new container's log is read
// from its first line.
func TestRecordPod(t *testing.T) {
	d := docker(t)
	bin, input := halfopen(t), filepath.Join(t.TempDir(), "input.log")
	appendTo(t, input, "one\ntwo\nthree\n")
	receiver := d.mount("halfopen-receiving", nil, []string{bin + ":/bin/halfopen:ro"}, "/bin/halfopen", "lab-receiver")
	ship := func() string {
		return d.begin("halfopen-shipping", []string{"HALFOPEN_INPUT=/input.log", "HALFOPEN_RECEIVER=127.0.0.1:5044"},
			map[string]any{"Binds": []string{bin + ":/bin/filebeat:ro", input + ":/input.log:ro"}, "NetworkMode": "container:" + receiver},
			"/bin/filebeat", "lab-shipper")
	}
	shipper := ship()
	first, other := find(t, shipper), find(t, receiver)

	r := record(t, bin, "--container", "halfopen-shipping", "--container", "halfopen-receiving", "--for", "5m")
	r.sees("a connection", func(rec recording) bool { return len(rec.held(0, first.PID)) == 1 })
	r.sees("its other end", func(rec recording) bool { return len(rec.held(0, other.PID)) == 1 })
	r.sees("the counters", func(rec recording) bool { return rec.acked(0, 3) })
	d.call("POST", "/containers/"+shipper+"/rename?name=halfopen-shipped", nil)
	d.do(shipper, "kill")
	second := find(t, ship())
	r.sees("the connection of the second process", func(rec recording) bool {
		return len(rec.held(0, second.PID))+len(rec.held(1, second.PID)) == 1
	})
	r.sees("its log", func(rec recording) bool { return strings.Count(rec.log(0), " established") == 2 })
	r.sees("both again", func(rec recording) bool {
		last := slices.IndexFunc(rec.Records, func(k timeline.Record) bool { return k.Party != nil && k.Party.PID == second.PID })
		return last >= 0 && slices.ContainsFunc(rec.Records[last:], func(k timeline.Record) bool {
			return k.Sockets != nil && k.Sockets.At == rec.Header().Places[0].Name && len(k.Sockets.Also) == 1
		})
	})
	rec := r.end()
	places := rec.Header().Places
	if places[0].NetNS == 0 || places[0].NetNS != places[1].NetNS {
		t.Errorf("places %+v", places)
	}
	want := []change{{timeline.Started, first.PID}, {timeline.Exited, first.PID}, {timeline.Started, second.PID}}
	if got := slices.DeleteFunc(rec.changes(0), func(c change) bool { return c.pid == 0 }); !slices.Equal(got, want) {
		t.Errorf("the shipper: %v, want %v", got, want)
	}
	for _, line := range []string{"Setup Beat", "start running", " established"} {
		if text := rec.log(0); strings.Count(text, line) != 2 {
			t.Errorf("the log has %q %d times, want once for each life:\n%s", line, strings.Count(text, line), text)
		}
	}
	for _, k := range rec.Records {
		if k.Sockets != nil && k.Sockets.At == places[1].Name && len(k.Sockets.Also) > 0 {
			t.Errorf("record %d is of %s and also %v, want the first place first", k.N, k.Sockets.At, k.Sockets.Also)
		}
	}
}
