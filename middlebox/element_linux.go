package middlebox

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// element is one of a set or a map, or a range of them.
type element struct {
	key, end []byte        // its first and its last key; end nil: there is one
	closes   bool          // it only says where the range before ends
	ends     time.Duration // how long it has left, 0: it stays
	drops    bool          // of a verdict map
	jump     string
}

// nftaSetElemKeyEnd is NFTA_SET_ELEM_KEY_END, the last key of a range of
// concatenations (Linux 5.6).
const nftaSetElemKeyEnd = 10

// setName names a set or a map in its namespace.
type setName struct{ family, table, set string }

// decodeSet reads the body of NFT_MSG_NEWSET or NFT_MSG_DELSET.
func decodeSet(body []byte) (name setName, flags uint32, err error) {
	family, ad, err := attributes(body)
	if err != nil {
		return name, 0, err
	}
	name.family = family
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_SET_TABLE:
			name.table = ad.String()
		case unix.NFTA_SET_NAME:
			name.set = ad.String()
		case unix.NFTA_SET_FLAGS:
			flags = ad.Uint32()
		}
	}
	if err := ad.Err(); err != nil {
		return name, 0, fmt.Errorf("decode nf_tables set %q: %w", body, err)
	}
	return name, flags, nil
}

// decodeElements reads the body of NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM.
func decodeElements(body []byte) (name setName, list []element, err error) {
	family, ad, err := attributes(body)
	if err != nil {
		return name, nil, err
	}
	name.family = family
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_SET_ELEM_LIST_TABLE:
			name.table = ad.String()
		case unix.NFTA_SET_ELEM_LIST_SET:
			name.set = ad.String()
		case unix.NFTA_SET_ELEM_LIST_ELEMENTS:
			ad.Nested(func(all *netlink.AttributeDecoder) error {
				for all.Next() {
					a, err := values(all.Bytes())
					if err != nil {
						return err
					}
					list = append(list, a.element())
				}
				return nil
			})
		}
	}
	if err := ad.Err(); err != nil {
		return name, nil, fmt.Errorf("decode elements of an nf_tables set %q: %w", body, err)
	}
	return name, list, nil
}

func (a attrs) element() element {
	e := element{key: a.data(unix.NFTA_SET_ELEM_KEY), end: a.data(nftaSetElemKeyEnd)}
	e.closes = a.num(unix.NFTA_SET_ELEM_FLAGS)&unix.NFT_SET_ELEM_INTERVAL_END != 0
	e.ends = time.Duration(a.long(unix.NFTA_SET_ELEM_EXPIRATION)) * time.Millisecond
	if e.ends == 0 {
		e.ends = time.Duration(a.long(unix.NFTA_SET_ELEM_TIMEOUT)) * time.Millisecond
	}
	nested, _ := values(a[unix.NFTA_SET_ELEM_DATA])
	if v, err := values(nested[unix.NFTA_DATA_VERDICT]); err == nil && len(v) > 0 {
		code := int32(v.num(unix.NFTA_VERDICT_CODE))
		if e.drops = code == nfDrop; code == nftJump || code == nftGoto {
			e.jump = v.text(unix.NFTA_VERDICT_CHAIN)
		}
	}
	return e
}

func (e element) verdict() string {
	switch {
	case e.drops:
		return "drop"
	case e.jump != "":
		return "jump " + e.jump
	}
	return "another verdict"
}

// slice is the first and the last value of a part of the key; nil where the key ends
// before.
func (e element) slice(at, size int) (from, to []byte) {
	if at+size > len(e.key) || e.end != nil && at+size > len(e.end) {
		return nil, nil
	}
	if from, to = e.key[at:at+size], e.key[at:at+size]; e.end != nil {
		to = e.end[at : at+size]
	}
	return from, to
}

// ranged joins the elements of a set of ranges: each begins where one stands, and ends
// before the next that closes it; without one it goes to the last key of all. Such sets
// have no concatenations, which tell both ends by themselves.
func ranged(list []element) (out []element) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b element) int {
		switch c := bytes.Compare(a.key, b.key); {
		case c != 0 || a.closes == b.closes:
			return c
		case a.closes:
			return -1
		}
		return 1
	})
	for i, e := range list {
		switch {
		case e.closes:
			continue
		case e.end != nil:
		case i+1 < len(list) && list[i+1].closes && bytes.Compare(e.key, list[i+1].key) < 0:
			e.end = before(list[i+1].key)
		default:
			e.end = bytes.Repeat([]byte{0xff}, len(e.key))
		}
		out = append(out, e)
	}
	return out
}

// before is the key before one that is not zero.
func before(key []byte) []byte {
	key = slices.Clone(key)
	for i := len(key) - 1; i >= 0; i-- {
		if key[i]--; key[i] != 0xff {
			break
		}
	}
	return key
}
