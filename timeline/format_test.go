package timeline

import (
	"encoding"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// document is what FORMAT.md says: the cells of its tables, by the heading that
// they stand under, and by the key or keys in the first one.
func document(t *testing.T) (kinds map[string]string, values map[string]map[string]string) {
	t.Helper()
	text, err := os.ReadFile("../FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds, values = map[string]string{}, map[string]map[string]string{}
	quoted := regexp.MustCompile("`([^`]+)`")
	heading := ""
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "#### "); ok {
			heading = strings.TrimSpace(name)
			values[heading] = map[string]string{}
		}
		cell := strings.Split(line, "|")
		switch {
		case len(cell) == 5:
			kinds[strings.Trim(cell[1], " `")] = cell[3]
		case len(cell) == 4:
			for _, key := range quoted.FindAllStringSubmatch(cell[1], -1) {
				if values[heading] == nil {
					values[heading] = map[string]string{}
				}
				values[heading][key[1]] = strings.TrimSpace(cell[2])
			}
		}
	}
	return kinds, values
}

// FORMAT.md names every key of a record, every kind with every key of its body,
// and every key of the values inside those.
func TestFormatDocument(t *testing.T) {
	kinds, values := document(t)
	body := fields(reflect.TypeFor[Body]())
	for key := range fields(reflect.TypeFor[Record]()) {
		if _, isKind := body[key]; !isKind && values[""][key] == "" {
			t.Errorf("FORMAT.md does not describe the key %q of a record", key)
		}
	}
	checked := 0
	seen := map[reflect.Type]bool{}
	var inside func(typ reflect.Type, at string)
	inside = func(typ reflect.Type, at string) {
		if typ = value(typ); typ == nil || seen[typ] {
			return
		}
		seen[typ] = true
		for key, f := range fields(typ) {
			checked++
			if values[typ.Name()][key] == "" {
				t.Errorf("FORMAT.md does not describe the key %q of %s, under the heading %q", key, at, typ.Name())
			}
			unit(t, at+"."+key, f)
			inside(f, at+"."+key)
		}
	}
	for kind, typ := range body {
		row, ok := kinds[kind]
		if !ok {
			t.Errorf("FORMAT.md does not describe the kind %q", kind)
			continue
		}
		for key, f := range fields(typ) {
			checked++
			if !strings.Contains(row, "`"+key+"`") {
				t.Errorf("FORMAT.md does not name the key %q of %q", key, kind)
			}
			unit(t, kind+"."+key, f)
			inside(f, kind+"."+key)
		}
	}
	if checked < 250 || len(seen) < 15 {
		t.Fatalf("only %d keys of %d kinds of values checked", checked, len(seen))
	}
	// What it describes exists.
	for kind := range kinds {
		if _, ok := body[kind]; !ok && kind != "kind" && !strings.HasPrefix(kind, "-") {
			t.Errorf("FORMAT.md describes the kind %q, which there is not", kind)
		}
	}
	for heading, keys := range values {
		for typ := range seen {
			if typ.Name() != heading {
				continue
			}
			for key := range keys {
				if _, ok := fields(typ)[key]; !ok {
					t.Errorf("FORMAT.md describes the key %q of %s, which there is not", key, heading)
				}
			}
		}
	}
}

// unit wants a time's key to end in its unit.
func unit(t *testing.T, at string, typ reflect.Type) {
	t.Helper()
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if isOpt(typ) {
		v, _ := typ.FieldByName("V")
		typ = v.Type
	}
	if typ == reflect.TypeFor[time.Duration]() && !strings.HasSuffix(at, "_ns") {
		t.Errorf("%s is a time.Duration: its key must end in _ns", at)
	}
}

func isOpt(typ reflect.Type) bool {
	return typ.Kind() == reflect.Struct && strings.HasPrefix(typ.Name(), "Opt[")
}

// value is the struct that a field holds, in pointers, slices and the like; nil
// where it is spelt as one JSON value.
func value(typ reflect.Type) reflect.Type {
	for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
		typ = typ.Elem()
	}
	switch {
	case isOpt(typ):
		v, _ := typ.FieldByName("V")
		return value(v.Type)
	case typ.Kind() != reflect.Struct, typ.Implements(reflect.TypeFor[json.Marshaler]()), typ.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return nil
	}
	return typ
}

// fields maps the JSON keys of a struct, or of what a pointer points to, to the
// fields' types.
func fields(t reflect.Type) map[string]reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	keys := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) {
		if key, _, _ := strings.Cut(f.Tag.Get("json"), ","); key != "" && key != "-" {
			keys[key] = f.Type
		}
	}
	return keys
}
