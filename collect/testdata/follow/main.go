// Follow follows a log from its beginning, as the recorder does, until it has
// handed on as many lines as its second argument says. It prints how long that
// took, in nanoseconds, and the most memory it had, in KiB.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"halfopen/logtail"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: follow FILE LINES")
	}
	want, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	enough := errors.New("enough")
	began := time.Now()
	lines, next := 0, int64(0)
	err = logtail.Follow(context.Background(), logtail.Config{Path: os.Args[1], From: logtail.FromBeginning}, logtail.Handler{
		Line: func(l logtail.Line) error {
			if l.Offset != next {
				return fmt.Errorf("a line at offset %d, want one at %d", l.Offset, next)
			}
			next += l.Size
			if lines++; lines == want {
				return enough
			}
			return nil
		},
	})
	took := time.Since(began)
	if !errors.Is(err, enough) {
		log.Fatal(err)
	}
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		log.Fatal(err)
	}
	fmt.Println(took.Nanoseconds(), use.Maxrss)
}
