package beatstats

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// wrapped bounds what can be a count. Beats keeps gauges unsigned and prints
// them without the sign bit (libbeat/monitoring/metrics.go, Uint.Visit): one
// below zero is printed as 2^63-1, which fits an int64 and is no count.
const wrapped = 1 << 62

// newValue reads a JSON number; null and absent give nil.
func newValue(key string, r gjson.Result) *Value {
	if v, ok := readValue(key, r); ok {
		return &v
	}
	return nil
}

func readValue(key string, r gjson.Result) (v Value, ok bool) {
	switch r.Type {
	case gjson.Null:
		return Value{}, false
	case gjson.Number:
		n, corrupt := count(r.Raw)
		return Value{N: n, Key: key, Corrupt: corrupt}, true
	default:
		return Value{Key: key, Corrupt: "not a number: " + quote(r.Raw, 40)}, true
	}
}

// count reads a JSON number that counts something: an integer from 0 to 2^62.
func count(raw string) (n int64, corrupt string) {
	n, err := strconv.ParseInt(raw, 10, 64)
	switch {
	case err == nil && n < 0:
		return n, raw + " is below zero"
	case err == nil && n >= wrapped:
		n += math.MinInt64
		return n, fmt.Sprintf("%s can't be a count: as an unsigned gauge without its sign bit it is %d", raw, n)
	case err == nil:
		return n, ""
	}
	if u, err := strconv.ParseUint(raw, 10, 64); err == nil {
		return int64(u), fmt.Sprintf("%s can't be a count: as an unsigned gauge it is %d", raw, int64(u))
	}
	f, err := strconv.ParseFloat(raw, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return 0, "not a number: " + quote(raw, 40)
	case f >= 1<<63:
		return math.MaxInt64, quote(raw, 40) + " does not fit 64 bits"
	case f < -1<<63:
		return math.MinInt64, quote(raw, 40) + " does not fit 64 bits"
	case f != math.Trunc(f):
		return int64(f), quote(raw, 40) + " is not an integer"
	case f < 0:
		return int64(f), quote(raw, 40) + " is below zero"
	case f > 1<<53:
		return int64(f), quote(raw, 40) + " is more than a float can count"
	}
	return int64(f), ""
}

// twice marks v as read from a key that its object holds more than once:
// decoders disagree on which of them counts (RFC 8259, section 4).
func (v *Value) twice() {
	if v != nil {
		v.Corrupt = "the key is given more than once"
	}
}

// maxNamed is how many keys a sum names before it only counts them.
const maxNamed = 4

// sum adds what is there; nothing there gives nil.
func sum(values []*Value) *Value {
	var total Value
	var names []string
	for _, v := range values {
		if v == nil {
			continue
		}
		names = append(names, v.Key)
		if v.Corrupt != "" && total.Corrupt == "" {
			total.Corrupt = v.Key + ": " + v.Corrupt
		}
		if total.N += v.N; total.Corrupt == "" && (total.N < 0 || total.N >= wrapped) {
			total.Corrupt = "the sum does not fit 64 bits"
		}
	}
	if len(names) == 0 {
		return nil
	}
	more := ""
	if len(names) > maxNamed {
		more = fmt.Sprintf(" + %d more", len(names)-maxNamed)
		names = names[:maxNamed]
	}
	total.Key = strings.Join(names, " + ") + more
	return &total
}

// less gives a - b, nil where either is missing.
func less(a, b *Value) *Value {
	if a == nil || b == nil {
		return nil
	}
	d := &Value{N: a.N - b.N, Key: a.Key + " - " + b.Key}
	switch {
	case a.Corrupt != "":
		d.Corrupt = a.Key + ": " + a.Corrupt
	case b.Corrupt != "":
		d.Corrupt = b.Key + ": " + b.Corrupt
	case d.N < 0:
		d.Corrupt = fmt.Sprintf("%d - %d is below zero", a.N, b.N)
	}
	return d
}
