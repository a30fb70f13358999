package main

import (
	"testing"

	"halfopen/lab"
	"halfopen/timeline"
	"halfopen/verdict"
)

// A namespace that is named and only forwards is a witness of the path, no shipper of
// which nothing is known: its entries, and its interfaces toward both ends.
func TestNamedRouter(t *testing.T) {
	t.Parallel()
	h := startByHand(t)
	h.record("--netns", nsPath(h.bed.Router))
	links := map[string]bool{}
	h.await("the router's interfaces in the recording", func(rec *timeline.Recording) bool {
		places := rec.Header().Places
		for _, k := range rec.Records {
			if k.Link != nil && k.Link.At == places[1].Name {
				links[k.Link.Link.Name] = true
			}
		}
		return links[lab.RouterLink] && len(links) == 2
	})
	v, rec := h.finish()
	if places := rec.Header().Places; len(places) != 2 || places[1].Role != timeline.Router {
		t.Errorf("places %+v", places)
	}
	if v.Verdict != verdict.NotStalled || len(v.Shippers) > 0 {
		t.Errorf("%s, %d shippers: %s", v.Verdict, len(v.Shippers), v.Summary)
	}
}
