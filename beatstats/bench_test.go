package beatstats

import (
	"bytes"
	"encoding/json"
	"testing"
)

// plainStats is what a program would write that knew one release only.
type plainStats struct {
	Beat struct {
		Handles struct {
			Open int64 `json:"open"`
		} `json:"handles"`
		Info struct {
			Name        string `json:"name"`
			Version     string `json:"version"`
			EphemeralID string `json:"ephemeral_id"`
			Uptime      struct {
				MS int64 `json:"ms"`
			} `json:"uptime"`
		} `json:"info"`
		Memstats struct {
			RSS int64 `json:"rss"`
		} `json:"memstats"`
		Runtime struct {
			Goroutines int64 `json:"goroutines"`
		} `json:"runtime"`
	} `json:"beat"`
	Filebeat struct {
		Harvester struct{ Running, Started, Closed, OpenFiles int64 } `json:"harvester"`
	} `json:"filebeat"`
	Libbeat struct {
		Output struct {
			Type        string                                                                     `json:"type"`
			Events      struct{ Acked, Active, Batches, Dropped, Duplicates, Failed, Total int64 } `json:"events"`
			Read, Write struct{ Bytes, Errors int64 }
		} `json:"output"`
		Pipeline struct {
			Clients int64                                    `json:"clients"`
			Events  struct{ Active, Published, Retry int64 } `json:"events"`
			Queue   struct {
				Acked     int64 `json:"acked"`
				MaxEvents int64 `json:"max_events"`
				MaxBytes  int64 `json:"max_bytes"`
				Filled    struct {
					Events int64 `json:"events"`
				} `json:"filled"`
			} `json:"queue"`
		} `json:"pipeline"`
	} `json:"libbeat"`
	Registrar struct {
		States struct{ Current int64 }     `json:"states"`
		Writes struct{ Fail, Total int64 } `json:"writes"`
	} `json:"registrar"`
}

func BenchmarkParseBeat(b *testing.B) {
	for _, version := range []string{"7.17", "8.17"} {
		var body bytes.Buffer // as Filebeat sends it, unless asked for ?pretty
		if err := json.Compact(&body, fixture(b, "filebeat-"+version+".json")); err != nil {
			b.Fatal(err)
		}
		b.Run(version+"/beatstats", func(b *testing.B) {
			b.SetBytes(int64(body.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if s, err := ParseBeat(body.Bytes()); err != nil || s.Acked.N != 540 {
					b.Fatal(s.Acked, err)
				}
			}
		})
		b.Run(version+"/encoding-json", func(b *testing.B) {
			b.SetBytes(int64(body.Len()))
			b.ReportAllocs()
			for b.Loop() {
				var s plainStats
				if err := json.Unmarshal(body.Bytes(), &s); err != nil || s.Libbeat.Output.Events.Acked != 540 {
					b.Fatal(s.Libbeat.Output.Events, err)
				}
			}
		})
	}
}
