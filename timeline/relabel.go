package timeline

import (
	"reflect"
	"slices"
	"time"
)

// relabel gives a record the times and places of the merged recording, and notes
// where it comes from. Its wall time stays what its own host's clock said.
func (s *source) relabel(r Record) Record {
	r.Source, r.SourceN, r.Mono = s.index, r.N, s.shifted(r.Mono)
	body := reflect.ValueOf(&r.Body).Elem()
	for i := range body.NumField() {
		if f := body.Field(i); !f.IsNil() && f.Type() != reflect.TypeFor[*Unknown]() {
			fresh := reflect.New(f.Type().Elem()) // others may hold the old one
			fresh.Elem().Set(f.Elem())
			s.rename(fresh.Elem())
			f.Set(fresh)
		}
	}
	s.shiftBody(&r.Body)
	return r
}

// rename gives the places in a body, At and Also, their names.
func (s *source) rename(body reflect.Value) {
	if at := body.FieldByName("At"); at.IsValid() && at.Kind() == reflect.String {
		at.SetString(s.place(at.String()))
	}
	if also := body.FieldByName("Also"); also.IsValid() && also.Len() > 0 {
		fresh := reflect.MakeSlice(also.Type(), also.Len(), also.Len())
		for i := range also.Len() {
			fresh.Index(i).SetString(s.place(also.Index(i).String()))
		}
		also.Set(fresh)
	}
}

func (s *source) place(name string) string {
	if new, ok := s.places[name]; ok {
		return new
	}
	return name
}

// shiftBody moves the monotonic times inside a body, zero is not known, and names the
// places of a header.
func (s *source) shiftBody(b *Body) {
	shift := func(t *time.Duration) {
		if *t != 0 {
			*t = s.shifted(*t)
		}
	}
	switch {
	case b.Header != nil:
		shift(&b.Header.StartedMono)
		b.Header.Places = slices.Clone(b.Header.Places)
		for i, p := range b.Header.Places {
			b.Header.Places[i].Name = s.place(p.Name)
		}
	case b.Sockets != nil:
		shift(&b.Sockets.Since)
	case b.Conntrack != nil:
		shift(&b.Conntrack.Since)
	case b.Fault != nil:
		shift(&b.Fault.Step.Mono)
	case b.Packets != nil:
		shift(&b.Packets.Toward.LastMono)
		shift(&b.Packets.From.LastMono)
		b.Packets.Signs = slices.Clone(b.Packets.Signs) // others may hold the old ones
		for i := range b.Packets.Signs {
			shift(&b.Packets.Signs[i].Mono)
		}
	case b.Mark != nil:
		shift(&b.Mark.CalledMono)
	}
}
