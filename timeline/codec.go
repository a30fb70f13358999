package timeline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"reflect"
	"slices"
)

// A line is the record's JSON object with one more key at its end:
//
//	{"n":7,…,"mark":{…},"crc":"1f2e3d4c"}
//
// The sum is CRC-32C (RFC 3720, appendix B.4) over every byte of the line before
// the comma of that key, so that any flipped byte shows and the line is JSON all
// the same.
const (
	crcKey  = `,"crc":"`
	crcTail = len(crcKey) + 8 + len(`"}`)
)

// A line with more objects than one each leastObject bytes is no record: as many
// empty ones would take a hundred times its length in memory.
const (
	fewObjects  = 64
	leastObject = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc32c(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// AppendLine appends the line of a record, with its newline, to dst.
func AppendLine(dst []byte, r Record) ([]byte, error) { return encode(dst, &r) }

// encode appends the line of r, with its newline, to dst.
func encode(dst []byte, r *Record) ([]byte, error) {
	object, err := json.Marshal(r)
	if err != nil {
		return dst, fmt.Errorf("encode record %d: %w", r.N, err)
	}
	object = object[:len(object)-1] // the closing brace comes after the sum
	dst = append(dst, object...)
	return fmt.Appendf(dst, "%s%08x\"}\n", crcKey, crc32c(object)), nil
}

// decode reads a line without its newline. A kind that this program does not
// know ends up in Unknown; anything else that is wrong is an error.
func decode(line []byte) (Record, error) {
	var r Record
	object, err := checked(line)
	if err != nil {
		return r, err
	}
	if objects := bytes.Count(line, []byte("{")); objects > fewObjects && objects > len(line)/leastObject {
		return r, fmt.Errorf("the line has %d objects: more than a record of its length has", objects)
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	if err := dec.Decode(&r); err != nil {
		return r, fmt.Errorf("decode record: %w", err)
	}
	switch r.bodies() {
	case 0:
		r.Unknown = unknownKind(object)
	case 1:
	default:
		return r, errors.New("the record has more than one body")
	}
	return r, nil
}

// bodies counts the bodies, of which a record has one.
func (b Body) bodies() (n int) {
	v := reflect.ValueOf(b)
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			n++
		}
	}
	return n
}

// checked returns the line up to its sum, if that is right.
func checked(line []byte) ([]byte, error) {
	cut := len(line) - crcTail
	if cut < 0 || !bytes.HasPrefix(line[cut:], []byte(crcKey)) || !bytes.HasSuffix(line, []byte(`"}`)) {
		return nil, fmt.Errorf("no checksum at the end of the line")
	}
	want := fmt.Sprintf("%08x", crc32c(line[:cut]))
	if got := line[cut+len(crcKey) : len(line)-2]; string(got) != want {
		return nil, fmt.Errorf("checksum is %q, the line's bytes give %q", got, want)
	}
	return line[:cut], nil
}

// unknownKind finds the one key of a record that is not of the envelope. A
// record with no body at all is kept too, with an empty kind.
func unknownKind(object []byte) *Unknown {
	var fields map[string]json.RawMessage
	if json.Unmarshal(append(bytes.Clone(object), '}'), &fields) != nil {
		return &Unknown{}
	}
	for _, envelope := range []string{"n", "time", "mono_ns", "took_ns"} {
		delete(fields, envelope)
	}
	kinds := slices.Sorted(maps.Keys(fields))
	for _, kind := range kinds {
		if bytes.HasPrefix(fields[kind], []byte("{")) { // a body is an object
			return &Unknown{Kind: kind, Raw: fields[kind]}
		}
	}
	return &Unknown{}
}
