package shipper

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// retryQueue holds the batches that failed or found no connection. It has no bound of its own, because a callback
// of go-lumber must not block; the events in it have their slots in the queue.
type retryQueue struct {
	ready chan struct{} // holds a token when there may be something to pop

	mu      sync.Mutex
	batches []*batch
}

func (r *retryQueue) push(b *batch) {
	r.mu.Lock()
	r.batches = append(r.batches, b)
	r.mu.Unlock()
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

func (r *retryQueue) pop() *batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.batches) == 0 {
		return nil
	}
	b := r.batches[0]
	r.batches = r.batches[1:]
	return b
}

const (
	backoffInit = time.Second      // output.logstash.backoff.init
	backoffMax  = 60 * time.Second // output.logstash.backoff.max
)

// backoff is libbeat's EqualJitterBackoff: half the wait is fixed and doubles, the other half is random.
type backoff struct{ duration time.Duration }

func newBackoff() backoff { return backoff{2 * backoffInit} }

func (b *backoff) reset() { *b = newBackoff() }

// next returns how long to wait this time: 1 s to 2 s at first, 30 s to 60 s at last.
func (b *backoff) next() time.Duration {
	half := b.duration / 2
	b.duration = min(2*b.duration, backoffMax)
	return half + rand.N(half)
}

// sleep waits for d; it is false when ctx was done first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
