package timeline

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// FORMAT.md names every kind of record with every key of its body.
func TestFormatDocument(t *testing.T) {
	text, err := os.ReadFile("../FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cell := strings.Split(line, "|"); len(cell) == 5 {
			rows[strings.Trim(cell[1], " `")] = cell[3]
		}
	}
	body := reflect.TypeFor[Body]()
	checked := 0
	for f := range fields(body) {
		row, ok := rows[f]
		if !ok {
			t.Errorf("FORMAT.md does not describe the kind %q", f)
			continue
		}
		for key := range fields(fields(body)[f]) {
			checked++
			if !strings.Contains(row, "`"+key+"`") {
				t.Errorf("FORMAT.md does not name the key %q of %q", key, f)
			}
		}
	}
	if checked < 50 {
		t.Fatalf("only %d keys checked", checked)
	}
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
