package sockstate

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"testing"
	"text/tabwriter"
	"time"
)

// contender is one way to do a thing.
type contender struct {
	run   func() error
	times int             // a turn, so that a turn is much longer than the clock's reading
	turns []time.Duration // of one run, the mean of a turn
}

// race lets the contenders take turns, so that what else the machine does meets
// them all alike.
func race(b *testing.B, field ...*contender) {
	b.Helper()
	for b.Loop() {
		for _, c := range field {
			runtime.GC() // nobody pays for the garbage of the one before
			start := time.Now()
			for range c.times {
				if err := c.run(); err != nil {
					b.Fatal(err)
				}
			}
			c.turns = append(c.turns, time.Since(start)/time.Duration(c.times))
		}
	}
	b.ReportMetric(0, "ns/op") // of a turn of all: says nothing
}

func (c *contender) median() time.Duration {
	sorted := slices.Sorted(slices.Values(c.turns))
	return sorted[len(sorted)/2]
}

// ratios is the table that the benchmark ends with.
type ratios struct{ rows []ratio }

// ratio is a row: what, among how many sockets, against whom.
type ratio struct {
	what        string
	sockets     int
	ours, rival string
	ratio       float64
	want        string // "" where there is no target
	met         bool
}

// faster adds how many times faster ours is; least is the target, 0 for none.
func (r *ratios) faster(what string, sockets int, ours, rival *contender, least float64) {
	row := ratio{what: what, sockets: sockets, ours: short(ours.median()), rival: short(rival.median())}
	row.ratio = float64(rival.median()) / float64(ours.median())
	if least > 0 {
		row.want, row.met = fmt.Sprintf("at least %gx", least), row.ratio >= least
	}
	r.rows = append(r.rows, row)
}

// atMost adds ours as a multiple of the rival's.
func (r *ratios) atMost(what string, sockets int, ours, rival string, multiple, most float64) {
	r.rows = append(r.rows, ratio{what, sockets, ours, rival, multiple, fmt.Sprintf("at most %.3gx", most), multiple <= most})
}

func (r *ratios) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nmeasured\tsockets\tours\trival\tratio\ttarget\t")
	for _, row := range r.rows {
		word := ""
		switch {
		case row.met:
			word = "PASS"
		case row.want != "":
			word = "MISS"
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%.3gx\t%s\t%s\n", row.what, row.sockets, row.ours, row.rival, row.ratio, row.want, word)
	}
	fmt.Fprintln(t)
	t.Flush()
}

// short is a duration to three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/float64(time.Microsecond))
	}
	return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
}
