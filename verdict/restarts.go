package verdict

import (
	"fmt"
	"strings"
	"time"

	"halfopen/beatstats"
	"halfopen/timeline"
)

// restarted is a program that began anew.
type restarted struct {
	at time.Duration
	n  uint64
}

// oneRestart is how far apart the signs of one restart may lie: the new process,
// and its counters once they answer.
const oneRestart = 30 * time.Second

// tellRestarts says which program was restarted, how often and when: a shipper that
// its supervisor restarts again and again delivers, and is not well.
func (j *judge) tellRestarts() {
	byName := map[string][]restarted{}
	var names []string
	known := map[string]bool{} // it has run before
	pids := map[string]int{}   // each recording of a merged one says anew what runs
	for _, p := range j.parties {
		name := p.body.Name
		if !known[name] {
			names = append(names, name)
		}
		list := byName[name]
		again := p.body.Change == timeline.Started && known[name] && p.body.PID != pids[name] ||
			p.body.Change == timeline.Restarted && (len(list) == 0 || p.at-list[len(list)-1].at > oneRestart)
		if p.body.Change == timeline.Started {
			pids[name] = p.body.PID
		}
		if known[name] = true; again {
			byName[name] = append(list, restarted{p.at, p.n})
		}
	}
	if own := byName[j.shipper]; len(own) == 0 {
		for i := 1; i < len(j.acks); i++ {
			if _, again := beatstats.Epoch(j.acks[i-1].body.Sample, j.acks[i].body.Sample); again {
				own = append(own, restarted{j.acks[i].at, j.acks[i].n})
			}
		}
		if !known[j.shipper] {
			names = append(names, j.shipper)
		}
		byName[j.shipper] = own
	}
	for _, name := range names {
		j.tellRestart(name, byName[name])
	}
}

// toldRestarts bounds the times that are listed.
const toldRestarts = 5

func (j *judge) tellRestart(name string, list []restarted) {
	if len(list) == 0 {
		return
	}
	var when []string
	var records []uint64
	for _, r := range list {
		when, records = append(when, j.clock(r.at)), append(records, r.n)
	}
	if n := len(when); n > toldRestarts {
		when, records = when[n-toldRestarts:], records[n-toldRestarts:]
		when[0] = "… " + when[0]
	}
	j.find("restarts", fmt.Sprintf("%s was restarted %s: %s", name, count(len(list), "time"), strings.Join(when, ", ")), records...)
}

// ended takes back "not stalled" where the shipper ended, not by the recorder's hand,
// and nothing was seen of it afterwards.
func (j *judge) ended() {
	var last *reading[*timeline.Party]
	for i := range j.parties {
		if p := &j.parties[i]; p.body.At == j.shipper || p.body.Name == j.shipper {
			last = p
		}
	}
	if last == nil || last.body.Change != timeline.Exited || last.body.ByUs {
		return
	}
	text := fmt.Sprintf("the shipper ended at %s%s, and nothing was seen of it since", j.clock(last.at), how(last.body.How))
	j.find("exited", text, last.n)
	if j.v.Verdict == NotStalled {
		j.conclude(Inconclusive, text+"; until then: "+j.v.Summary)
	}
}
