package collect

import (
	"context"
	"fmt"
	"time"

	"halfopen/beatstats"
	"halfopen/clock"
	"halfopen/timeline"
)

// Stats scrapes a program's counters.
type Stats struct {
	At       string // place
	Name     string // filebeat, logstash
	Endpoint string
	Client   *beatstats.Client
	Every    time.Duration
	Paths    []string // what Keep fetches; /stats and / of a beat
}

// scrapeTimeout bounds a scrape; the next one waits for it.
const scrapeTimeout = 2 * time.Second

// Run scrapes until ctx ends. A scrape that fails is a Failure record.
func (s *Stats) Run(ctx context.Context, rec *Recorder) error {
	every(ctx, s.Every, func() {
		bounded, cancel := context.WithTimeout(ctx, scrapeTimeout)
		defer cancel()
		began := clock.Mono()
		sample, _, err := s.Client.Scrape(bounded)
		took := clock.Mono() - began
		switch {
		case ctx.Err() != nil:
			return // the recording ends
		case err != nil:
			rec.Fail("stats of "+s.Name, took, err)
			return
		}
		rec.Append(took, timeline.Body{Stats: &timeline.Stats{At: s.At, Name: s.Name, Endpoint: s.Endpoint, Sample: sample}})
	})
	return nil
}

// Keep writes the endpoint's bodies as they are.
func (s *Stats) Keep(ctx context.Context, rec *Recorder, phase string) {
	for _, path := range s.Paths {
		ctx, cancel := context.WithTimeout(ctx, scrapeTimeout)
		body, took, err := s.Client.Fetch(ctx, path)
		cancel()
		if err != nil {
			rec.Fail("stats of "+s.Name, took, err)
			continue
		}
		rec.keepRaw("stats of "+s.Name, fmt.Sprintf("metrics-%s-%s-%s%s.json", phase, stamp(), s.Name, fileWord(path)), "body of "+path, body)
	}
}

// fileWord spells a URL path as part of a file name: "/_node/stats" is
// "-node-stats", "/" is "-root".
func fileWord(path string) string {
	word := []byte("-")
	for _, c := range []byte(path) {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.':
			word = append(word, c)
		case word[len(word)-1] != '-':
			word = append(word, '-')
		}
	}
	if len(word) == 1 {
		return "-root"
	}
	return string(word)
}
