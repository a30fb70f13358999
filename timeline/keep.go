package timeline

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Keep says how much is kept of what grows for ever. The zero Keep is all.
type Keep struct {
	For  time.Duration // 0: for ever
	Size int64         // bytes; 0: any
}

func (k Keep) String() string {
	var part []string
	if k.For > 0 {
		part = append(part, k.For.String())
	}
	if k.Size > 0 {
		part = append(part, fmt.Sprintf("%d bytes", k.Size))
	}
	return strings.Join(part, "/")
}

// ParseKeep reads a time, a size, or both with a slash between: 14d, 200M,
// 14d/200M.
func ParseKeep(s string) (k Keep, err error) {
	for part := range strings.SplitSeq(s, "/") {
		if size, err := ParseSize(part); err == nil && k.Size == 0 {
			k.Size = size
		} else if d, err := parseAge(part); err == nil && k.For == 0 {
			k.For = d
		} else {
			return Keep{}, fmt.Errorf("%q: want a time, a size, or both, such as 14d, 200M or 14d/200M", s)
		}
	}
	return k, nil
}

// ParseSize reads a number of bytes above 0: 500K, 64M, 2G, by powers of 1024.
func ParseSize(s string) (int64, error) {
	number, shift := s, 0
	for i, unit := range []string{"K", "M", "G", "T"} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			number, shift = n, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if shift == 0 || err != nil || n <= 0 || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("%q: want a size such as 500K, 64M or 2G", s)
	}
	return n << shift, nil
}

// parseAge reads days too, which time.ParseDuration does not.
func parseAge(s string) (time.Duration, error) {
	const day = 24 * time.Hour
	if number, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n <= 0 || n > int64(math.MaxInt64/day) {
			return 0, fmt.Errorf("%q: want a number of days", s)
		}
		return time.Duration(n) * day, nil
	}
	d, err := time.ParseDuration(s)
	if err == nil && d <= 0 {
		err = fmt.Errorf("%q: want more than 0s", s)
	}
	return d, err
}
