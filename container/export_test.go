package container

import "context"

// Events passes on an engine's stream, for a test against a real one.
func Events(ctx context.Context, socket string, each func(id, name, action string)) error {
	events, done := make(chan event), make(chan error, 1)
	go func() { done <- newEngine(socket).stream(ctx, events) }()
	for {
		select {
		case ev := <-events:
			each(ev.id, ev.name, ev.action)
		case err := <-done:
			return err
		}
	}
}
