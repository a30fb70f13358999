package beatstats

import (
	"strings"

	"github.com/tidwall/gjson"
)

// member follows keys from object to object. Unlike gjson's paths it takes
// each key as it is, dots and wildcards included, and tells when an object
// holds one of them more than once; the last one is returned then.
func member(obj gjson.Result, keys ...string) (found gjson.Result, again bool) {
	found = obj
	for _, key := range keys {
		var next gjson.Result
		if found.IsObject() {
			found.ForEach(func(k, v gjson.Result) bool {
				if k.Str == key {
					again = again || next.Exists()
					next = v
				}
				return true
			})
		}
		found = next
	}
	return found, again
}

// number reads the count that keys lead to; base is the path of obj.
func number(obj gjson.Result, base string, keys ...string) *Value {
	r, again := member(obj, keys...)
	path := strings.Join(keys, ".")
	if base != "" {
		path = base + "." + path
	}
	v := newValue(strings.ToValidUTF8(path, "\ufffd"), r)
	if again {
		v.twice()
	}
	return v
}

// text reads the string that keys lead to.
func text(obj gjson.Result, keys ...string) string {
	r, _ := member(obj, keys...)
	return strings.ToValidUTF8(r.String(), "\ufffd")
}
