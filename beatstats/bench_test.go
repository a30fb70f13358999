package beatstats

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

// plainStats is what a program would write that knew one release only: the same
// fields as a Sample, with no word on where they stood or whether they can be.
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
		Events struct {
			Added int64 `json:"added"`
		} `json:"events"`
		Harvester struct {
			Running   int64 `json:"running"`
			Started   int64 `json:"started"`
			Closed    int64 `json:"closed"`
			OpenFiles int64 `json:"open_files"`
		} `json:"harvester"`
	} `json:"filebeat"`
	Libbeat struct {
		Output struct {
			Type   string `json:"type"`
			Events struct {
				Acked      int64 `json:"acked"`
				Active     int64 `json:"active"`
				Batches    int64 `json:"batches"`
				Dropped    int64 `json:"dropped"`
				Duplicates int64 `json:"duplicates"`
				Failed     int64 `json:"failed"`
				Total      int64 `json:"total"`
			} `json:"events"`
			Read struct {
				Bytes  int64 `json:"bytes"`
				Errors int64 `json:"errors"`
			} `json:"read"`
			Write struct {
				Bytes   int64        `json:"bytes"`
				Errors  int64        `json:"errors"`
				Latency plainLatency `json:"latency"`
				Delta   plainLatency `json:"latency_delta"`
			} `json:"write"`
		} `json:"output"`
		Pipeline struct {
			Clients int64 `json:"clients"`
			Events  struct {
				Active    int64 `json:"active"`
				Published int64 `json:"published"`
				Retry     int64 `json:"retry"`
			} `json:"events"`
			Queue plainQueue `json:"queue"`
		} `json:"pipeline"`
		Queue plainQueue `json:"queue"`
	} `json:"libbeat"`
	Queue     plainQueue `json:"queue"`
	Registrar struct {
		States struct {
			Current int64 `json:"current"`
		} `json:"states"`
		Writes struct {
			Fail  int64 `json:"fail"`
			Total int64 `json:"total"`
		} `json:"writes"`
	} `json:"registrar"`
}

type plainQueue struct {
	Acked     int64 `json:"acked"`
	MaxEvents int64 `json:"max_events"`
	MaxBytes  int64 `json:"max_bytes"`
	Filled    struct {
		Events int64 `json:"events"`
	} `json:"filled"`
}

type plainLatency struct {
	Histogram struct {
		Count  int64   `json:"count"`
		Median float64 `json:"median"`
		P75    float64 `json:"p75"`
		P95    float64 `json:"p95"`
		P99    float64 `json:"p99"`
		Max    float64 `json:"max"`
	} `json:"histogram"`
}

// perTurn is how many bodies a turn reads: some 10 ms.
const perTurn = 400

// BenchmarkSample makes samples of a real body of 7.17.29 and of one of 8.15, and
// lets encoding/json read the same into a struct, in turns, and prints the medians.
// What is behind a body's fields is not compared: only ours tells where a number
// stood, whether it can be a count, and what was given twice.
func BenchmarkSample(b *testing.B) {
	var table bytes.Buffer
	for _, name := range []string{"filebeat-7.17.29.json", "filebeat-8.15.0.json"} {
		b.Run(name, func(b *testing.B) {
			var body bytes.Buffer // as Filebeat sends it, unless asked for ?pretty
			if err := json.Compact(&body, fixture(b, name)); err != nil {
				b.Fatal(err)
			}
			ours := func() {
				if s, err := Parse(body.Bytes()); err != nil || !s.Acked.OK() {
					b.Fatal(s.Acked, err)
				}
			}
			plain := func() {
				var s plainStats
				if err := json.Unmarshal(body.Bytes(), &s); err != nil || s.Beat.Info.Name+s.Libbeat.Output.Type == "" {
					b.Fatal(s, err)
				}
			}
			var took [2][]time.Duration
			for b.Loop() {
				for i, read := range []func(){ours, plain} {
					began := time.Now()
					for range perTurn {
						read()
					}
					took[i] = append(took[i], time.Since(began)/perTurn)
				}
			}
			us, them := median(took[0]), median(took[1])
			allocs := [2]float64{testing.AllocsPerRun(100, ours), testing.AllocsPerRun(100, plain)}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(us.Nanoseconds()), "ns/sample")
			b.ReportMetric(float64(them)/float64(us), "times-faster")
			verdict := "MISS"
			if us < them {
				verdict = "PASS"
			}
			fmt.Fprintf(&table, "sample of %-22s %4d bytes  ours %v, %.0f allocations  encoding/json %v, %.0f  ratio %.2f  more than 1: %s\n",
				name, body.Len(), us.Round(100*time.Nanosecond), allocs[0], them.Round(100*time.Nanosecond), allocs[1], float64(them)/float64(us), verdict)
		})
	}
	fmt.Printf("\n%s\n", table.String())
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
