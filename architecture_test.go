package halfopen_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "halfopen/"

// The table of ARCHITECTURE.md says which package may import which. This test
// reads both the table and the files, in process: a child "go list" would be
// answered from the test cache.
func TestImportTable(t *testing.T) {
	allowed := importTable(t)
	used := map[string]map[string]bool{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "e2e" || name == "tools") {
				return fs.SkipDir // e2e and tools are modules of their own
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(filepath.Dir(path))
		if used[pkg] == nil {
			used[pkg] = map[string]bool{}
		}
		for _, imp := range f.Imports {
			p, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			if own, ok := strings.CutPrefix(p, module); ok {
				used[pkg][own] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(used) < 10 {
		t.Fatalf("only %d packages found: %v", len(used), used)
	}
	for pkg, imports := range used {
		may, listed := allowed[pkg]
		if !listed {
			t.Errorf("package %s is not in the table of ARCHITECTURE.md", pkg)
			continue
		}
		for imp := range imports {
			if !slices.Contains(may, imp) && !slices.Contains(may, "all") {
				t.Errorf("%s imports %s, which the table of ARCHITECTURE.md does not allow", pkg, imp)
			}
		}
		for _, m := range may {
			if m != "all" && !imports[m] {
				t.Errorf("the table of ARCHITECTURE.md lets %s import %s, which it does not", pkg, m)
			}
		}
	}
	for pkg := range allowed {
		if used[pkg] == nil {
			t.Errorf("the table of ARCHITECTURE.md lists %s, which has no Go files", pkg)
		}
	}
}

// importTable reads the rows "| `folder` | what | imports |".
func importTable(t *testing.T) map[string][]string {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	table := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cell := strings.Split(strings.TrimSpace(line), "|")
		if len(cell) != 5 || !strings.HasPrefix(strings.TrimSpace(cell[1]), "`") {
			continue
		}
		pkg := strings.Trim(strings.TrimSpace(cell[1]), "`/")
		table[pkg] = nil
		for _, imp := range strings.FieldsFunc(cell[3], func(r rune) bool { return r == ',' || r == ' ' }) {
			if imp != "–" {
				table[pkg] = append(table[pkg], imp)
			}
		}
	}
	if len(table) == 0 {
		t.Fatal("ARCHITECTURE.md has no import table")
	}
	return table
}
