package flow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Ports is a set of watched TCP ports, sorted, without repetition. The empty
// set watches nothing; it is not a wildcard.
type Ports []uint16

// NewPorts returns the set of the given ports.
func NewPorts(ports ...uint16) Ports {
	set := slices.Clone(ports)
	slices.Sort(set)
	return slices.Compact(set)
}

// Has reports whether p is in the set.
func (s Ports) Has(p uint16) bool {
	_, ok := slices.BinarySearch(s, p)
	return ok
}

// Match reports whether either end of f is on a port of the set.
func (s Ports) Match(f Flow) bool {
	return s.Has(f.Local.Port()) || s.Has(f.Remote.Port())
}

// Hex spells a port as /proc/net/tcp does: four upper-case hexadecimal digits
// (net/ipv4/tcp_ipv4.c, get_tcp4_sock: "%04X").
func Hex(p uint16) string { return fmt.Sprintf("%04X", p) }

// ParsePort reads a port of 1 to 65535: decimal, or the kernel's spelling with
// a 0x prefix ("0x13B4"). Four digits with a letter among them ("13B4") are
// read as hexadecimal too, since no decimal number is written so.
func ParsePort(s string) (uint16, error) {
	digits, base := s, 10
	if rest, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		digits, base = rest, 16
	} else if len(s) == 4 && strings.ContainsAny(strings.ToLower(s), "abcdef") {
		base = 16
	}
	n, err := strconv.ParseUint(digits, base, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q: want a number from 1 to 65535, or the kernel's spelling such as 0x%s for 5044", s, Hex(5044))
	}
	return uint16(n), nil
}

// known are ports that log shipping uses: Beats, Filebeat's and Logstash's stats,
// Fluentd's forward input.
var known = NewPorts(5044, 5066, 9600, 24224)

// NearMiss returns the port of log shipping whose kernel spelling differs from
// that of p in one digit only. Documents confuse 13C4 (5060) with 13B4 (5044),
// and a filter on the wrong one finds nothing.
func NearMiss(p uint16) (near uint16, ok bool) {
	for _, k := range known {
		differ := 0
		for x := p ^ k; x != 0; x >>= 4 {
			if x&0xF != 0 {
				differ++
			}
		}
		if differ == 1 {
			return k, true
		}
	}
	return 0, false
}
