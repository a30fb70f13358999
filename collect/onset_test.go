package collect

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"halfopen/beatstats"
	"halfopen/flow"
	"halfopen/sockstate"
	"halfopen/timeline"
)

// service answers its pages, and lists what it was asked.
func service(t *testing.T, pages map[string]string) (url string, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var list []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		list = append(list, r.Method+" "+r.URL.RequestURI())
		mu.Unlock()
		text, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, text)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(list) }
}

func retransmitting(backoff uint8) sockstate.Socket {
	from, to := netip.MustParseAddrPort("10.50.0.2:33342"), netip.MustParseAddrPort("10.51.0.2:5044")
	return sockstate.Socket{
		Flow: flow.New(from, to), State: sockstate.Established, Timer: sockstate.TimerRetransmit, Retransmits: uint32(backoff),
		Info: &sockstate.Info{Backoff: backoff},
	}
}

// The first connection whose RTO has doubled twice makes the recorder ask a beat
// and a Logstash for what they tell of themselves, once and again some seconds
// later; what is not there is said once.
func TestOnsetKeepsWhatProgramsTell(t *testing.T) {
	beat, askedBeat := service(t, map[string]string{
		"/stats": body(t, "filebeat-8.17.json"), "/state": `{"output":{"name":"logstash"}}`,
		"/debug/pprof/goroutine": "goroutine 1 [IO wait]:\n",
	})
	logstash, askedLogstash := service(t, map[string]string{"/_node/stats": body(t, "logstash-8.12.json"), "/_node/hot_threads": "Hot threads at …\n"})
	o := observe(t)
	onset := NewOnset()
	onset.again = 50 * time.Millisecond
	for name, url := range map[string]string{"filebeat": beat, "logstash": logstash} {
		s := scraper(t, url, 0)
		s.Name, s.At, s.Onset = name, name, onset
		o.start(s)
		o.await("sample of "+name, 1, func(r timeline.Record) bool { return isStats(r) && r.Stats.Name == name })
	}
	o.start(onset)
	onset.sockets("filebeat", []sockstate.Socket{retransmitting(1)})
	onset.sockets("filebeat", []sockstate.Socket{retransmitting(2)})
	for range 20 { // the same stall goes on
		onset.sockets("filebeat", []sockstate.Socket{retransmitting(9)})
	}
	o.await("second dump", 4, isFile)
	want := []string{"filebeat-goroutines.txt", "filebeat-goroutines.txt", "filebeat-state.json", "logstash-hot-threads.txt"}
	var kinds []string
	for _, name := range o.files() {
		var stamp float64
		rest, ok := strings.CutPrefix(name, "onset-")
		if _, err := fmt.Sscanf(rest, "%f-", &stamp); !ok || err != nil {
			t.Errorf("file %q: %v", name, err)
		}
		kinds = append(kinds, rest[len("150405.000-"):])
	}
	if slices.Sort(kinds); !slices.Equal(kinds, want) {
		t.Errorf("kept %q, want %q", kinds, want)
	}
	marks := o.all(isMark)
	if len(marks) != 2 || !strings.Contains(marks[0].Mark.Text, "a stall may begin: 10.50.0.2:33342 -> 10.51.0.2:5044 of filebeat has been sent again 2 times") ||
		marks[1].Mark.Text != "counters of each input of filebeat: it is not there before 8.7" {
		t.Errorf("said %+v", marks)
	}
	for _, r := range slices.Concat(askedBeat(), askedLogstash()) {
		path, ok := strings.CutPrefix(r, "GET /")
		if !ok || strings.Contains(path, "store-inspector") {
			t.Errorf("asked for %q", r)
		}
	}
	if found := o.all(isFailure); len(found) > 0 {
		t.Errorf("failure %+v", found[0].Failure)
	}
}

// Where pprof is off it is said once, however many stalls there are, and what the
// program does tell is kept each time.
func TestOnsetWithoutPprof(t *testing.T) {
	beat, asked := service(t, map[string]string{"/stats": body(t, "filebeat-7.17.29.json"), "/state": "{}"})
	o := observe(t)
	onset := NewOnset()
	onset.again = time.Millisecond
	s := scraper(t, beat, 0)
	s.Onset = onset
	o.start(s)
	o.await("sample", 1, isStats)
	for i := range 3 {
		onset.keep(t.Context(), o.Recorder, fmt.Sprint("stall ", i))
	}
	if files := o.files(); len(files) != 3 {
		t.Errorf("kept %q", files)
	}
	said := o.all(func(r timeline.Record) bool {
		return isMark(r) && strings.Contains(r.Mark.Text, "pprof is off (http.pprof.enabled)")
	})
	dumps := slices.DeleteFunc(asked(), func(r string) bool { return !strings.Contains(r, "pprof") })
	if len(said) != 1 || len(dumps) != 1 {
		t.Errorf("said %d times, asked %d times", len(said), len(dumps))
	}
}

// What starts an onset, and what does not: one a stall, and at a place no more
// than one a minute.
func TestOnsetNotices(t *testing.T) {
	sample := func(acked, pending int64) beatstats.Sample {
		return beatstats.Sample{Kind: beatstats.Beat, Acked: &beatstats.Value{N: acked}, Pending: &beatstats.Value{N: pending}}
	}
	type step struct {
		at      time.Duration
		acked   int64 // -1: no counters
		pending int64
		backoff uint8 // 0: no reading of sockets
		calm    bool  // a reading of sockets without a retransmission
		starts  bool
	}
	tests := map[string][]step{
		"acks stand with work waiting": {{at: 0, acked: 5, pending: 1}, {at: 9, acked: 5, pending: 1}, {at: 10, acked: 5, pending: 1, starts: true}, {at: 300, acked: 5, pending: 9}},
		"an idle shipper":              {{at: 0, acked: 5}, {at: 100, acked: 5}, {at: 105, acked: 5, pending: 1}, {at: 109, acked: 5, pending: 1}, {at: 111, acked: 5}},
		"acks move":                    {{at: 0, acked: 5, pending: 9}, {at: 9, acked: 6, pending: 9}, {at: 18, acked: 7, pending: 9}, {at: 27, acked: 8, pending: 9}},
		"a connection, then its acks":  {{at: 0, acked: 5}, {at: 1, acked: -1, backoff: 2, starts: true}, {at: 12, acked: 5, pending: 3}, {at: 30, acked: 5, pending: 3}},
		"one retransmission":           {{at: 0, acked: -1, backoff: 1}, {at: 5, acked: -1, calm: true}},
		"over, and again": {
			{at: 0, acked: 1}, {at: 1, acked: -1, backoff: 2, starts: true}, {at: 5, acked: -1, calm: true}, {at: 6, acked: 2},
			{at: 90, acked: -1, backoff: 3, starts: true}, {at: 91, acked: -1, calm: true},
		},
		"over, and again too soon": {{at: 0, acked: -1, backoff: 2, starts: true}, {at: 5, acked: -1, calm: true}, {at: 30, acked: -1, backoff: 2}},
		"without counters":         {{at: 0, acked: -1, backoff: 4, starts: true}, {at: 5, acked: -1, backoff: 5}, {at: 70, acked: -1, calm: true}, {at: 90, acked: -1, backoff: 2, starts: true}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			onset := NewOnset()
			var now time.Duration
			onset.now = func() time.Duration { return now }
			for i, s := range steps {
				now = time.Hour + s.at*time.Second
				switch {
				case s.backoff > 0:
					onset.sockets("shipper", []sockstate.Socket{{State: sockstate.Listen}, retransmitting(s.backoff)})
				case s.calm:
					onset.sockets("shipper", []sockstate.Socket{{State: sockstate.Established, Timer: sockstate.TimerKeepalive}})
				}
				if s.acked >= 0 {
					onset.counters("shipper", sample(s.acked, s.pending))
				}
				started := false
				select {
				case <-onset.wake:
					started = true
				default:
				}
				if started != s.starts {
					t.Errorf("step %d: started %v", i, started)
				}
			}
		})
	}
}

// A line that is bad all day does not fill the disk.
func TestOnsetsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		onset := NewOnset()
		began, n := time.Now(), 0
		onset.now = func() time.Duration { return time.Hour + time.Since(began) }
		for range 1000 {
			onset.sockets("shipper", []sockstate.Socket{retransmitting(3)})
			select {
			case <-onset.wake:
				n++
			default:
			}
			onset.sockets("shipper", nil)
			time.Sleep(10 * time.Minute)
		}
		if n != maxOnsets {
			t.Errorf("%d onsets, want %d", n, maxOnsets)
		}
	})
}
