// Package docs checks that what the documents name exists.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

var (
	row  = regexp.MustCompile(`(?m)^\| ([-0-9].*) \|$`)
	path = regexp.MustCompile("`([a-z0-9/_]+(?:\\.go)?)`")
	test = regexp.MustCompile("`([a-z0-9/]+)` (Test[A-Za-z]+)")
)

// TestClaimTable: every file and test of ARCHITECTURE.md's claim table is there.
func TestClaimTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Claim, code, test")
	rows := row.FindAllStringSubmatch(table, -1)
	if len(rows) < 10 {
		t.Fatalf("only %d rows found", len(rows))
	}
	for _, r := range rows {
		for _, p := range path.FindAllStringSubmatch(r[1], -1) {
			if _, err := os.Stat(filepath.Join(root, p[1])); err != nil {
				t.Errorf("%s: %v", r[1], err)
			}
		}
		named := test.FindAllStringSubmatch(r[1], -1)
		if len(named) == 0 {
			t.Errorf("no test: %s", r[1])
		}
		for _, n := range named {
			if !hasTest(t, n[1], n[2]) {
				t.Errorf("there is no %s in %s", n[2], n[1])
			}
		}
	}
}

func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "func "+name+"(") {
			return true
		}
	}
	return false
}

var link = regexp.MustCompile(`\]\(([^)#:]+)\)`)

// TestLinks: every relative link of a document leads somewhere.
func TestLinks(t *testing.T) {
	documents, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range append(documents, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(d)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(d), l[1])); err != nil {
				t.Errorf("%s: %v", d, err)
			}
		}
	}
}
