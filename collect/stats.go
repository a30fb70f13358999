package collect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"halfopen/beatstats"
	"halfopen/clock"
	"halfopen/timeline"
)

// Stats scrapes a program's counters.
type Stats struct {
	At     string // place
	Name   string // filebeat, logstash
	Client *beatstats.Client
	Every  time.Duration
	Paths  []string // what Keep fetches beside the counters: / of a beat
	// Log, where not nil, tells the counters while the endpoint does not.
	Log *LoggedStats
	// Onset, where not nil, is told of the counters.
	Onset *Onset

	one  sync.Mutex // a scrape and the raw evidence never ask at the same time
	mu   sync.Mutex
	kind string // of what answered last

	within time.Duration // where not 0: instead of scrapeTimeout
}

// scrapeTimeout bounds a scrape; the next one waits for it.
const scrapeTimeout = 2 * time.Second

func (s *Stats) limit() time.Duration { return cmp.Or(s.within, scrapeTimeout) }

// Run scrapes until ctx ends. A scrape that fails is a Failure record, a restart
// that the counters show a Party record.
func (s *Stats) Run(ctx context.Context, rec *Recorder) error {
	if s.Onset != nil {
		s.Onset.enter(s)
		defer s.Onset.leave(s)
	}
	var lives beatstats.Lives
	every(ctx, s.Every, func() {
		began := clock.Mono()
		sample, err := s.scrape(ctx)
		took := clock.Mono() - began
		switch {
		case ctx.Err() != nil:
			return // the recording ends
		case err != nil:
			rec.Fail("stats of "+s.Name, took, err)
			return
		}
		s.Log.answered()
		if _, why := lives.Next(sample); why != "" {
			rec.Append(0, timeline.Body{Party: &timeline.Party{Name: s.Name, At: s.At, Change: timeline.Restarted, How: why}})
		}
		rec.Append(took, timeline.Body{Stats: &timeline.Stats{At: s.At, Name: s.Name, Endpoint: s.Client.Endpoint(), Sample: sample}})
		s.Onset.counters(s.At, sample)
	})
	return nil
}

func (s *Stats) scrape(ctx context.Context) (beatstats.Sample, error) {
	s.one.Lock()
	defer s.one.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.limit())
	defer cancel()
	sample, _, err := s.Client.Scrape(ctx)
	if err == nil {
		s.mu.Lock()
		s.kind = sample.Kind
		s.mu.Unlock()
	}
	return sample, err
}

// answers is the kind of service that answered last, "" before any did.
func (s *Stats) answers() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kind
}

// Keep writes the endpoint's bodies as they are, that of the counters among them.
func (s *Stats) Keep(ctx context.Context, rec *Recorder, phase string) {
	paths := s.Paths
	if found := s.Client.Path(); found != "" && !slices.Contains(paths, found) {
		paths = append(slices.Clone(paths), found)
	}
	for _, path := range paths {
		body, took, err := s.fetch(ctx, path)
		if err != nil {
			rec.Fail("stats of "+s.Name, took, err)
			continue
		}
		rec.keepRaw(fmt.Sprintf("metrics-%s-%s-%s%s.json", phase, stamp(), s.Name, fileWord(path)), "body of "+path, body)
	}
}

func (s *Stats) fetch(ctx context.Context, path string) (body []byte, took time.Duration, err error) {
	s.one.Lock()
	defer s.one.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.limit())
	defer cancel()
	return s.Client.Fetch(ctx, path)
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
