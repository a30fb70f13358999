package verdict

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// FORMAT.md describes every key that a check prints, and no other.
func TestCheckDocument(t *testing.T) {
	text, err := os.ReadFile("../FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	for _, typ := range []reflect.Type{reflect.TypeFor[Checkup](), reflect.TypeFor[ShipperCheck](), reflect.TypeFor[CountersCheck](), reflect.TypeFor[ConnCheck]()} {
		_, section, _ := strings.Cut(string(text), "\n#### "+typ.Name()+"\n")
		section, _, _ = strings.Cut(section, "\n#")
		told := map[string]bool{}
		for line := range strings.Lines(section) {
			if cell := strings.Split(line, "|"); len(cell) == 4 {
				for _, key := range quoted.FindAllStringSubmatch(cell[1], -1) {
					told[key[1]] = true
				}
			}
		}
		if len(told) == 0 {
			t.Errorf("FORMAT.md has no table for %s", typ.Name())
		}
		for f := range typ.Fields() {
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !told[key] {
				t.Errorf("FORMAT.md does not describe the key %q of %s", key, typ.Name())
			}
			delete(told, key)
		}
		for key := range told {
			t.Errorf("FORMAT.md describes the key %q of %s, which there is not", key, typ.Name())
		}
	}
}
