package collect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"halfopen/beatstats"
	"halfopen/logtail"
	"halfopen/timeline"
)

// beatLog is a log that a Beat writes to. Its lines are of now, and so a minute ahead: they
// may be read late.
type beatLog struct {
	t    *testing.T
	path string
	up   time.Duration
	id   string
}

func (b *beatLog) write(text string) {
	b.t.Helper()
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		b.t.Fatal(err)
	}
}

// tell writes a line of counters, logged so long ago; acked is left out if it is 0,
// as a Beat does.
func (b *beatLog) tell(ago time.Duration, acked, active int) string {
	b.up += 30 * time.Second
	events := ""
	if acked != 0 {
		events = fmt.Sprintf(`"acked":%d,`, acked)
	}
	return fmt.Sprintf(`%s	INFO	[monitoring]	log/log.go:184	Non-zero metrics in the last 30s	{"monitoring": {"metrics": {"beat":{"info":{"ephemeral_id":%q,"uptime":{"ms":%d},"version":"7.17.29"}},"libbeat":{"output":{"events":{%s"active":%d}},"pipeline":{"clients":1,"events":{"active":%d}}}}}}`,
		time.Now().Add(time.Minute-ago).UTC().Format("2006-01-02T15:04:05.000Z"), b.id, b.up.Milliseconds(), events, active, active)
}

// A Beat without an endpoint: its log gives the counters, what is there already
// when the recording begins is added up and is no reading, and it is said where
// they come from. A container engine may wrap the lines.
func TestCountersFromTheLog(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		t.Run(fmt.Sprintf("wrapped %v", wrapped), func(t *testing.T) {
			log := &beatLog{t: t, path: filepath.Join(t.TempDir(), "filebeat.log"), id: "a"}
			write := func(line string) {
				if wrapped {
					line = fmt.Sprintf(`{"log":%q,"stream":"stderr","time":%q}`, line+"\n", time.Now().Add(time.Minute).UTC().Format(time.RFC3339Nano))
				}
				log.write(line + "\n")
			}
			for range 3 {
				write(log.tell(time.Hour, 10, 0))
			}
			o := observe(t)
			from := &LoggedStats{At: "shipper", Name: "filebeat"}
			l := &Logs{Name: "filebeat", Path: log.path, From: logtail.FromBeginning}
			from.Hear(o.Recorder, l)
			o.start(l)
			write("nothing of that kind")
			write(log.tell(0, 10, 0))
			write(log.tell(0, 0, 7))
			write(`2026-01-01T00:00:00.000Z	INFO	[monitoring]	log/log.go:184	Non-zero metrics in the last 30s	{"monitoring": {`)
			log.id, log.up = "b", 0
			write(log.tell(0, 3, 0))
			for i, want := range []struct{ acked, pending int64 }{{40, 0}, {40, 7}, {3, 0}} {
				if wrapped && i == 0 {
					continue // the engine's time is now
				}
				s := o.await("sample", 1, func(r timeline.Record) bool {
					return isStats(r) && r.Stats.Sample.Acked.N == want.acked && r.Stats.Sample.Pending.N == want.pending
				}).Stats
				if s.At != "shipper" || s.Name != "filebeat" || s.Endpoint != "log:"+log.path || *s.Sample.Logged != (beatstats.Logged{Period: 30 * time.Second}) {
					t.Errorf("%+v, %+v", s, s.Sample.Logged)
				}
			}
			if f := o.await("failure", 1, isFailure).Failure; f.Source != "counters in the log of filebeat" || !strings.Contains(f.Error, "JSON cut off") {
				t.Errorf("%+v", f)
			}
			began := o.all(func(r timeline.Record) bool { return r.Party != nil && r.Party.Change == timeline.Restarted })
			if len(began) != 1 || began[0].Party.At != "shipper" || began[0].Party.How != `ephemeral id changed from "a" to "b"` {
				t.Errorf("the other life is recorded as %+v", began)
			}
			said := o.all(func(r timeline.Record) bool {
				return isMark(r) && strings.Contains(r.Mark.Text, "taken from its log "+log.path)
			})
			if len(said) != 1 {
				t.Errorf("said %d times where the counters come from", len(said))
			}
			if n := len(o.all(isStats)); !wrapped && n != 3 {
				t.Errorf("%d samples, want 3: those of an hour ago are no readings", n)
			}
		})
	}
}

// While the endpoint answers, the log is only added up; when it falls silent the
// log takes over by itself, and gives way again.
func TestTheLogTakesOver(t *testing.T) {
	good := answers(body(t, "filebeat-7.17.29.json"))
	srv := speak(t, good)
	log := &beatLog{t: t, path: filepath.Join(t.TempDir(), "filebeat.log"), id: "a", up: time.Hour}
	o := observe(t)
	from := &LoggedStats{At: "shipper", Name: "filebeat"}
	l := &Logs{Name: "filebeat", Path: log.path, From: logtail.FromBeginning}
	from.Hear(o.Recorder, l)
	seen, heard := l.Seen, new(atomic.Int32)
	l.Seen = func(line []byte, at time.Time) { seen(line, at); heard.Add(1) }
	hears := func(n int32) {
		t.Helper()
		await(t, func() bool { return heard.Load() >= n })
	}
	logged := func(r timeline.Record) bool { return isStats(r) && r.Stats.Sample.Logged != nil }
	scraped := func(r timeline.Record) bool { return isStats(r) && r.Stats.Sample.Logged == nil }
	s := scraper(t, srv.addr+"/stats", time.Second)
	s.Log = from
	stop := o.start(s)
	o.await("sample of the endpoint", 1, scraped)
	o.start(l)
	log.write(log.tell(0, 10, 0) + "\n")
	hears(1)
	if found := o.all(logged); len(found) > 0 {
		t.Errorf("the log was used while the endpoint answered: %+v", found[0].Stats)
	}
	mute := hangs("")
	srv.say.Store(&mute)
	failed := len(o.all(isFailure)) // one scrape may still get its answer
	o.await("failure", failed+1, isFailure)
	from.mu.Lock()
	from.last -= time.Minute // as if that had been so for a minute
	from.mu.Unlock()
	log.write(log.tell(0, 5, 2) + "\n")
	r := o.await("sample of the log", 1, logged)
	if v := r.Stats.Sample; v.Acked.N != 15 || v.Pending.N != 2 || v.Logged.Since != time.Hour {
		t.Errorf("acked %+v, pending %+v, %+v", v.Acked, v.Pending, v.Logged)
	}
	srv.say.Store(&good)
	before := len(o.all(scraped))
	o.await("sample of the endpoint", before+1, scraped)
	log.write(log.tell(0, 5, 2) + "\n")
	hears(3)
	if n := len(o.all(logged)); n != 1 {
		t.Errorf("%d samples of the log, want 1", n)
	}
	stop()
}
