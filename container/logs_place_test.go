package container_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"halfopen/container"
)

// A later run goes on behind the place of an earlier one: where no line had come,
// behind lines of both streams and parts of lines, after a restart of the container.
func TestLogsAfterPlace(t *testing.T) {
	for _, driver := range []string{"json-file", "local"} {
		t.Run(driver, func(t *testing.T) {
			d := docker(t)
			k := d.talk("halfopen-talk-after-"+driver, driver, false, nil)
			began := time.Now()
			h := listen(t, k.id, container.LogStart{Since: began})
			await(t, "a place", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.place != "" })
			h.stop()
			place := h.place
			all := listen(t, k.id, container.LogStart{})
			var before []string
			for round := range 4 {
				long := fmt.Sprintf("of %d %s", round, strings.Repeat("x", 16<<10-5)) // a part of its own
				fresh := []string{fmt.Sprintf("one of %d", round), "again", "again", long + "…", "end"}
				k.say(fresh[0], "again", "again", long+"end")
				all.hears(append(slices.Clone(before), fresh...)...)
				fresh = append(fresh, fmt.Sprintf("2 error %d", round))
				k.say(fresh[5]) // after them: the two streams come as they like
				all.hears(append(slices.Clone(before), fresh...)...)
				if round%2 == 1 {
					var more []string
					for i := range 100 { // more than a place names
						more = append(more, fmt.Sprintf("more %d of %d", i, round))
					}
					k.say(more...)
					fresh = append(fresh, more...)
				}
				before = append(before, fresh...)
				all.hears(before...)
				h := listen(t, k.id, container.LogStart{After: place, Last: 1})
				h.hears(fresh...)
				h.stop()
				place = h.place
				if round == 2 {
					d.do(k.id, "restart?t=5")
				}
			}
			none := listen(t, k.id, container.LogStart{After: place})
			k.say("the last")
			none.hears("the last")
		})
	}
}

// A container that was made after the last run has nothing that was read; what is
// no place is said to be none. Where the engine has thrown away what came between
// two runs, that is a gap.
func TestLogsAfterPlaceElsewhere(t *testing.T) {
	d := docker(t)
	k := d.talk("halfopen-talk-elsewhere", "json-file", false, map[string]string{"max-size": "10k", "max-file": "1"})
	k.say("one")
	first := listen(t, k.id, container.LogStart{Since: time.Now().Add(time.Hour), Made: time.Now().Add(-time.Hour)})
	first.hears("one")
	first.stop()
	broken := listen(t, k.id, container.LogStart{After: "nowhere"})
	await(t, "the line", func() bool { broken.mu.Lock(); defer broken.mu.Unlock(); return len(broken.lines) == 1 })
	if len(broken.gaps) != 1 || !strings.Contains(broken.gaps[0], `"nowhere" is none`) {
		t.Errorf("gaps %q", broken.gaps)
	}
	broken.stop()
	for i := range 500 {
		k.say(fmt.Sprintf("line %d %s", i, strings.Repeat("x", 100)))
	}
	path := d.call("GET", "/containers/"+k.id+"/json", nil).Get("LogPath").String()
	await(t, "the last line in the log", func() bool {
		text, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(text), "line 499 ")
	})
	later := listen(t, k.id, container.LogStart{After: first.place})
	await(t, "the last line", func() bool {
		later.mu.Lock()
		defer later.mu.Unlock()
		return len(later.lines) > 0 && strings.HasPrefix(later.lines[len(later.lines)-1], "line 499 ")
	})
	if len(later.gaps) != 1 || !strings.Contains(later.gaps[0], "no longer has the line that was read last") {
		t.Errorf("gaps %q", later.gaps)
	}
}
