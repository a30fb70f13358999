package timeline

import (
	"testing"
	"time"

	"halfopen/capture"
)

// In a merged recording the times inside a record of packets are moved with its
// own; the record that they come from keeps them.
func TestRelabelPackets(t *testing.T) {
	s := source{Source: Source{Offset: time.Second}, index: 2, places: map[string]string{"a": "a@h"}}
	was := Record{N: 7, Mono: 5 * time.Second, Body: Body{Packets: &Packets{At: "a", Also: []string{"b"}, Connection: capture.Connection{
		Toward: capture.Half{LastMono: 4 * time.Second}, Signs: []capture.Sign{{Mono: 3 * time.Second}, {Mono: 4 * time.Second}},
	}}}}
	is := s.relabel(was)
	p := is.Packets
	if is.Mono != 6*time.Second || p.At != "a@h" || p.Toward.LastMono != 5*time.Second || p.From.LastMono != 0 || p.Signs[0].Mono != 4*time.Second || p.Signs[1].Mono != 5*time.Second {
		t.Errorf("%+v, %+v", is, p)
	}
	if was.Packets.At != "a" || was.Packets.Signs[0].Mono != 3*time.Second || was.Packets.Toward.LastMono != 4*time.Second {
		t.Errorf("the source's record was changed: %+v", was.Packets)
	}
}
