// Command halfopen is the flight recorder for TCP log shipping: it records a
// connection from both ends, says whether and why it is half-open, and leaves
// evidence.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// untilSignal is for commands that have something to put away when they are told
// to end; the others just end. A pipe that nobody reads any more, or a terminal
// that went away, must not cut the evidence short. Signals are caught rather than
// ignored, because programs started from here would inherit the latter.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}
