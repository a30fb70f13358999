package verdict

import (
	"fmt"
	"time"
)

// pastStall judges a run without a known cut whose acks stood still for long
// enough in the middle, with work waiting, and moved again: the window is then from
// the last ack to the first new one.
func (j *judge) pastStall(list []progress) bool {
	var worst, from time.Duration
	var after progress
	var fromN uint64
	times := 0
	prev, prevN := j.acks[0].at, j.acks[0].n
	for _, p := range list {
		since, until := j.waitsSince(prev, p.from), p.to
		if j.series.any() { // what is between is not known
			since, until = j.standsUntil(p.from), p.from
		}
		if gap := until - since; gap >= j.th.StallAfter && j.readAll(since, p.to) {
			times++
			if gap > worst {
				worst, from, fromN, after = gap, since, prevN, p
			}
		}
		prev, prevN = p.to, p.toN
	}
	if times == 0 {
		return false
	}
	j.cut = &cut{
		known: byAcks, startN: fromN, start: from, startWall: j.wall(from),
		endN: after.toN, end: from + j.th.Settle, endWall: j.wall(after.to),
	}
	if j.conn, _ = j.pick(j.cut.start); j.conn == nil || j.oldEnd(after.to).by == ByReceiver && times > 2 {
		j.cut = nil // acks come in steps, or nothing is known of the connection
		j.conn, _ = j.pick(j.last.Mono)
		return false
	}
	j.v.Window = j.window()
	if times > 1 {
		j.find("stalls", fmt.Sprintf("acks stood still %d times for %s or more with work waiting; the longest is judged", times, j.th.StallAfter), fromN, after.toN)
	}
	return j.recovered()
}

// waitsSince is since when work has waited without a pause, up to a time: the last
// reading at which nothing did, else from.
func (j *judge) waitsSince(from, to time.Duration) time.Duration {
	for _, a := range j.acks {
		if p := a.body.Sample.Pending; a.at > from && a.at <= to && (!p.OK() || p.N == 0) {
			from = a.at
		}
	}
	return from
}

// readAll reports whether the counters were read all the time.
func (j *judge) readAll(from, to time.Duration) bool {
	last := from
	for _, a := range j.acks {
		if a.at > from && a.at <= to {
			if a.at-last > j.th.Fresh {
				return false
			}
			last = a.at
		}
	}
	return true
}
