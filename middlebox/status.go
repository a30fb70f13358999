package middlebox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Status is the set of IPS_… bits of an entry (enum ip_conntrack_status,
// include/uapi/linux/netfilter/nf_conntrack_common.h). As text it is a list of
// their names in lower case, "seen_reply,assured,src_nat"; a bit without a name
// is written as hexadecimal number.
type Status uint32

// bits are the names of the bits, from IPS_EXPECTED_BIT on.
var bits = [...]string{
	"expected", "seen_reply", "assured", "confirmed", "src_nat", "dst_nat", "seq_adjust", "src_nat_done",
	"dst_nat_done", "dying", "fixed_timeout", "template", "untracked", "helper", "offload", "hw_offload",
}

// SeenReply reports whether packets went both ways.
func (s Status) SeenReply() bool { return s.has("seen_reply") }

// Assured reports whether the kernel keeps the entry when the table is full.
func (s Status) Assured() bool { return s.has("assured") }

// SrcNAT reports whether the source of the first packet is translated.
func (s Status) SrcNAT() bool { return s.has("src_nat") }

// DstNAT reports whether the destination of the first packet is translated.
func (s Status) DstNAT() bool { return s.has("dst_nat") }

// Offloaded reports whether a flowtable carries the connection; its packets
// then pass no forward hook, so no rule there can drop or count them.
func (s Status) Offloaded() bool { return s.has("offload") || s.has("hw_offload") }

func (s Status) has(name string) bool { return s&(1<<slices.Index(bits[:], name)) != 0 }

func (s Status) String() string {
	var names []string
	for i := range 32 {
		switch {
		case s&(1<<i) == 0:
		case i < len(bits):
			names = append(names, bits[i])
		default:
			names = append(names, fmt.Sprintf("%#x", 1<<i))
		}
	}
	return strings.Join(names, ",")
}

// MarshalText implements [encoding.TextMarshaler].
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Status) UnmarshalText(text []byte) error {
	var read Status
	for name := range strings.SplitSeq(string(text), ",") {
		if i := slices.Index(bits[:], name); i >= 0 {
			read |= 1 << i
		} else if n, err := strconv.ParseUint(name, 0, 32); err == nil {
			read |= Status(n)
		} else if len(text) > 0 {
			return fmt.Errorf("conntrack status %q: no bit is named %q", text, name)
		}
	}
	*s = read
	return nil
}
