package container

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
)

const (
	pollEvery = time.Second // how soon a change is seen when no engine tells it
	maxEvent  = 1 << 20     // bytes of one line of the stream
)

// Follow finds a container and calls each with it, and again whenever it has
// stopped (Running false), runs as another process, or was made anew under the
// same name. It returns nil when ctx ends, and an error when the container can't
// be found at first. Changes come from the engine's event stream where there is
// one, and from a look at the process once a second, so that they come without
// an engine too. A fast restart may be told as the new process alone. each is
// called by the goroutine of the caller.
//
// An open descriptor of the old namespace keeps that alive, and silent: who
// watches a namespace must let go of it and open Container.NetNS again.
func Follow(ctx context.Context, nameOrID string, each func(Container)) error {
	return Host{}.Follow(ctx, nameOrID, each)
}

// Follow is the package's Follow on another host.
func (h Host) Follow(ctx context.Context, nameOrID string, each func(Container)) error {
	if err := checkName(nameOrID); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	events := make(chan event)
	if engines, err := h.engines(); err == nil { // else Find tells
		for _, e := range engines {
			wg.Go(func() { e.listen(ctx, events) })
		}
	}
	last, err := h.Find(ctx, nameOrID)
	if err != nil {
		return err
	}
	if last.Name != nameOrID {
		nameOrID = last.ID // a prefix may fit another one later
	}
	each(last)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-events:
			if !ev.concerns(last) {
				continue
			}
		case <-tick.C:
			if last.Running && h.runs(last) {
				continue
			}
		}
		now, err := h.Find(ctx, nameOrID)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			// Removed, or its engine is gone: what can be said is whether it runs.
			now = last
			if !h.runs(last) {
				now.Running, now.PID, now.StartTime, now.NetNS = false, 0, 0, ""
			}
		}
		if now.ID != last.ID || now.Running != last.Running || now.PID != last.PID || now.StartTime != last.StartTime {
			each(now)
		}
		last = now
	}
}

func (h Host) runs(c Container) bool {
	start, ok := h.startTime(c.PID)
	return ok && start == c.StartTime
}

// event is one line of GET /events. The zero event says that the stream began:
// what happened before is not known.
type event struct{ id, name, action string }

func (ev event) concerns(c Container) bool {
	return ev == event{} || ev.id == c.ID || ev.name != "" && ev.name == c.Name
}

// listen passes on an engine's events until ctx ends. An engine that is not
// there, or goes away, is tried again; meanwhile the caller's tick does.
func (e engine) listen(ctx context.Context, events chan<- event) {
	for ctx.Err() == nil {
		if err := e.stream(ctx, events); err == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollEvery):
		}
	}
}

func (e engine) stream(ctx context.Context, events chan<- event) error {
	const filter = `{"type":["container"]}`
	resp, err := e.get(ctx, "/events?filters="+url.QueryEscape(filter))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	pass := func(ev event) bool {
		select {
		case events <- ev:
			return true
		case <-ctx.Done():
			return false
		}
	}
	if !pass(event{}) {
		return nil
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		if ev, ok := parseEvent(lines.Bytes()); ok && !pass(ev) {
			return nil
		}
	}
	return fmt.Errorf("event stream ended: %w", cmp.Or(lines.Err(), io.EOF))
}

// parseEvent reads one event of a container; what does not start, stop or rename
// it is passed over: programs run in it, health checks.
func parseEvent(line []byte) (event, bool) {
	if !gjson.ValidBytes(line) {
		return event{}, false
	}
	j := gjson.ParseBytes(line)
	ev := event{id: j.Get("Actor.ID").String(), name: j.Get("Actor.Attributes.name").String(), action: j.Get("Action").String()}
	if ev.action == "" {
		ev.action = j.Get("status").String()
	}
	for _, noise := range []string{"exec_", "health_status", "top", "attach", "resize"} {
		if strings.HasPrefix(ev.action, noise) {
			return event{}, false
		}
	}
	return ev, fullID(ev.id) && (j.Get("Type").String() == "container" || !j.Get("Type").Exists())
}
