package lab

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Generate appends numbered lines to the file at path, rate a second, until ctx
// ends.
func Generate(ctx context.Context, path string, rate int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("open the generated log: %w", err)
	}
	defer f.Close()
	// At high rates one tick writes several lines.
	period := max(time.Second/time.Duration(rate), 10*time.Millisecond)
	tick := time.NewTicker(period)
	defer tick.Stop()
	began := time.Now()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			due := int(now.Sub(began).Seconds() * float64(rate))
			for ; n < due; n++ {
				if _, err := fmt.Fprintf(f, "%s lab line %d of a log that a shipper reads\n", now.UTC().Format(time.RFC3339Nano), n+1); err != nil {
					return fmt.Errorf("write the generated log: %w", err)
				}
			}
		}
	}
}
