package shipper

import (
	"context"
	"sync"
)

// event is a line on its way, in the shape of Filebeat's log input.
type event struct {
	Timestamp string   `json:"@timestamp"`
	Metadata  metadata `json:"@metadata"`
	Message   string   `json:"message"`
	Log       logField `json:"log"`
	Input     input    `json:"input"`
	Host      host     `json:"host"`

	end position
}

type metadata struct {
	Beat    string `json:"beat"`
	Type    string `json:"type"`
	Version string `json:"version"`
}

type logField struct {
	Offset int64   `json:"offset"` // bytes
	File   logFile `json:"file"`
}

type logFile struct {
	Path string `json:"path"`
}

type input struct {
	Type string `json:"type"`
}

type host struct {
	Name string `json:"name"`
}

// batch is what one publish sends.
type batch struct {
	events []*event // those not yet acknowledged
	size   int      // events that it was made of
	end    position // after its last event
	acked  bool
}

// queue is the memory queue (libbeat/publisher/queue/memqueue). An event keeps its slot until it is acknowledged,
// so when nothing is, put blocks and the reader stops reading.
type queue struct {
	slots   chan struct{} // one token an event
	waiting chan *event   // those not yet in a batch

	acked func(end position) // told, one call at a time, up to where in the input everything is acknowledged

	mu       sync.Mutex
	inFlight []*batch // in the order of the input
	queueCounters
}

// queueCounters are in events, since the start.
type queueCounters struct{ added, consumed, removed int }

func newQueue(events int, acked func(end position)) *queue {
	return &queue{slots: make(chan struct{}, events), waiting: make(chan *event, events), acked: acked}
}

// put appends the event, once there is room.
func (q *queue) put(ctx context.Context, e *event) error {
	if err := ctx.Err(); err != nil {
		return err // what is read on the way out is left to the next run
	}
	select {
	case q.slots <- struct{}{}:
		q.mu.Lock()
		q.added++
		q.mu.Unlock()
		q.waiting <- e // never blocks: it has a slot
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next waits for an event and returns it with those behind it, most at the most; nil once ctx is done.
func (q *queue) next(ctx context.Context, most int) *batch {
	var events []*event
	select {
	case e := <-q.waiting:
		events = append(events, e)
	case <-ctx.Done():
		return nil
	}
	for more := true; more && len(events) < most; {
		select {
		case e := <-q.waiting:
			events = append(events, e)
		default:
			more = false
		}
	}
	b := &batch{events: events, size: len(events), end: events[len(events)-1].end}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.inFlight = append(q.inFlight, b)
	q.consumed += b.size
	return b
}

// ack marks a batch as acknowledged and frees the slots of all that are, up to the first that is not: the queue
// is emptied in the order of the input, whatever the order of the ACKs.
func (q *queue) ack(b *batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b.acked = true
	for len(q.inFlight) > 0 && q.inFlight[0].acked {
		head := q.inFlight[0]
		q.inFlight = q.inFlight[1:]
		q.removed += head.size
		for range head.size {
			<-q.slots
		}
		q.acked(head.end)
	}
}

func (q *queue) counters() queueCounters {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.queueCounters
}
