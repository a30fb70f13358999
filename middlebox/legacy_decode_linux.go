package middlebox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// decodeLegacy reads struct ipt_entry after struct ipt_entry: the addresses, 4
// bytes nfcache, target_offset and next_offset, 4 bytes comefrom, two counters;
// then matches, then the target. A jump is told by where its chain's first rule is.
func decodeLegacy(f legacyFamily, table string, blob []byte, hooks map[uint32]string) (rules []Rule, err error) {
	chain := ""
	chains := map[int]string{} // by where they begin
	found := map[chainName]map[string]bool{}
	leads := map[int]int{} // rules that jump, and where to
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
			found[chainName{f.name, table, chain}] = map[string]bool{strings.ToLower(name): true}
		}
		name := cString(b[target+2 : target+xtHeader-1])
		data := b[target+xtHeader : next]
		if name == "ERROR" { // the head of a user's chain, or the end of the table
			chain, at = cString(data), at+next
			chains[at] = chain
			continue
		}
		r := Rule{Family: f.name, Table: table, Chain: chain, Protocol: legacyProtocol(b[f.proto:]),
			Packets: new(binary.NativeEndian.Uint64(b[head:])), Bytes: new(binary.NativeEndian.Uint64(b[head+8:]))}
		var x expressions
		if r.Protocol != "" {
			x.say("%s", r.Protocol)
		}
		x.legacyEnds(f, b, &r)
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
			case code >= 0 && int(code) == at+next:
				name = "none" // on to the next rule
			case code >= 0:
				leads[len(rules)], name = int(code), aChain
			default:
				name = "RETURN"
			}
		}
		x.say("target %s", name)
		r.Text, r.Side = strings.Join(x.words, " "), x.side(r)
		rules, at = append(rules, r), at+next
	}
	leadLegacy(rules, chains, leads, found)
	return rules, nil
}

// leadLegacy names the chains that rules jump to, which begin at chains, and notes at
// each rule by which hooks packets get there: found has those of the hooked chains.
func leadLegacy(rules []Rule, chains map[int]string, leads map[int]int, found map[chainName]map[string]bool) {
	jumps := map[chainName]map[string]bool{}
	for i, to := range leads {
		if chains[to] == "" {
			continue
		}
		r := &rules[i]
		r.Jump = chains[to]
		r.Text = strings.TrimSuffix(r.Text, aChain) + r.Jump
		lead(jumps, chainOf(*r), r.Jump)
	}
	spread(found, jumps, nil)
	reached := map[string][]string{}
	for c, by := range found {
		reached[c.chain] = slices.Sorted(maps.Keys(by))
	}
	for i := range rules {
		r := &rules[i]
		r.Hooks = reached[r.Chain]
		r.Loose = r.Hooks == nil
	}
}

// aChain stands for one whose name is not known yet.
const aChain = "a chain"

// legacyEnds reads struct ipt_ip and ip6t_ip6: two addresses, their masks, the
// names of two interfaces of 16 bytes.
func (x *expressions) legacyEnds(f legacyFamily, b []byte, r *Rule) {
	family, _, _ := strings.Cut(f.name, " ")
	for i, what := range []string{"saddr", "daddr"} {
		bits, known := maskBits(b[(2+i)*f.addr : (3+i)*f.addr])
		addr, _ := netip.AddrFromSlice(b[i*f.addr : (i+1)*f.addr])
		not := b[f.invert]&(1<<(3+i)) != 0 // IPT_INV_SRCIP, IPT_INV_DSTIP
		switch {
		case bits == 0 && known:
			continue
		case !not && known:
			r.Addrs = append(r.Addrs, netip.PrefixFrom(addr, bits))
		}
		x.say("%s %s %s", family, what, negated(not, spell(addr, bits)))
	}
	for i, what := range []string{"iifname", "oifname"} {
		if name := cString(b[4*f.addr+16*i : 4*f.addr+16*(i+1)]); name != "" {
			x.say("%s %s", what, negated(b[f.invert]&(1<<i) != 0, strconv.Quote(name))) // IPT_INV_VIA_IN, IPT_INV_VIA_OUT
		}
	}
}

// maskBits is the length of a prefix; false for a mask with holes.
func maskBits(mask []byte) (bits int, ok bool) {
	ones, size := net.IPMask(mask).Size()
	return ones, size != 0
}

func spell(addr netip.Addr, bits int) string {
	if bits == addr.BitLen() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, bits).String()
}

func negated(not bool, what string) string {
	if not {
		return "!= " + what
	}
	return what
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
