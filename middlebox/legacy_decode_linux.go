package middlebox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// decodeLegacy reads struct ipt_entry after struct ipt_entry: the addresses, 4
// bytes nfcache, target_offset and next_offset, 4 bytes comefrom, two counters;
// then matches, then the target.
func decodeLegacy(f legacyFamily, table string, blob []byte, hooks map[uint32]string) (rules []Rule, err error) {
	chain := ""
	for at := 0; at < len(blob); {
		b := blob[at:]
		head := f.ip + 4 + 4 + 4 // up to the counters, which stand on a multiple of 8
		head = (head + 7) &^ 7
		if len(b) < head+16 {
			return nil, fmt.Errorf("decode legacy table %q: an entry at %d ends after %d bytes", table, at, len(b))
		}
		target, next := int(binary.NativeEndian.Uint16(b[f.ip+4:])), int(binary.NativeEndian.Uint16(b[f.ip+6:]))
		if target < head+16 || target+xtHeader > next || next > len(b) {
			return nil, fmt.Errorf("decode legacy table %q: an entry at %d has its target at %d and ends at %d", table, at, target, next)
		}
		if name, ok := hooks[uint32(at)]; ok {
			chain = name
		}
		name := cString(b[target+2 : target+xtHeader-1])
		data := b[target+xtHeader : next]
		if name == "ERROR" { // the head of a user's chain, or the end of the table
			chain, at = cString(data), at+next
			continue
		}
		r := Rule{Family: f.name, Table: table, Chain: chain, Protocol: legacyProtocol(b[f.proto:]),
			Packets: new(binary.NativeEndian.Uint64(b[head:])), Bytes: new(binary.NativeEndian.Uint64(b[head+8:]))}
		var x expressions
		if r.Protocol != "" {
			x.say("%s", r.Protocol)
		}
		if any := make([]byte, f.proto); !bytes.Equal(b[:f.proto], any) {
			x.say("from or to 0x%x", bytes.TrimRight(b[:f.proto], "\x00"))
		}
		for m := head + 16; m+xtHeader <= target; {
			size := int(binary.NativeEndian.Uint16(b[m:]))
			if size < xtHeader || m+size > target {
				return nil, fmt.Errorf("decode legacy table %q: a match at %d has %d bytes", table, at+m, size)
			}
			x.match(cString(b[m+2:m+xtHeader-1]), b[m+xtHeader:m+size], &r)
			m += size
		}
		r.Drops = name == "DROP" || name == "REJECT"
		if name == "" && len(data) >= 4 { // the standard target: a verdict, or a chain to jump to
			switch code := int32(binary.NativeEndian.Uint32(data)); {
			case code == -nfDrop-1:
				r.Drops, name = true, "DROP"
			case code == -nfAccept-1:
				name = "ACCEPT"
			case code >= 0:
				name = "a chain"
			default:
				name = "RETURN"
			}
		}
		x.say("target %s", name)
		r.Text = strings.Join(x.words, " ")
		rules, at = append(rules, r), at+next
	}
	return rules, nil
}

// xtHeader is sizeof struct xt_entry_match and xt_entry_target: size 2, name 29,
// revision 1.
const xtHeader = 32

func legacyProtocol(b []byte) string {
	if p := binary.NativeEndian.Uint16(b); p != 0 {
		return protocol(uint8(p))
	}
	return ""
}

func cString(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}
