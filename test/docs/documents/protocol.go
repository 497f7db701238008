package documents

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Protocol is docs/protocol.md.
type Protocol struct{ lines []string }

// Example is one fenced block.
type Example struct {
	Line int // of its fence
	Kind string
	Text string
}

// ReadProtocol reads docs/protocol.md.
func ReadProtocol() (*Protocol, error) {
	text, err := os.ReadFile(filepath.Join(root(), "docs", "protocol.md"))
	if err != nil {
		return nil, err
	}
	return &Protocol{lines: strings.Split(string(text), "\n")}, nil
}

// Examples are the blocks of a kind, such as "json", in order.
func (p *Protocol) Examples(kind string) []Example {
	var found []Example
	var block *Example
	for i, line := range p.lines {
		fence, ok := strings.CutPrefix(line, "```")
		switch {
		case ok && block == nil:
			block = &Example{Line: i + 1, Kind: fence}
		case ok:
			if block.Kind == kind {
				found = append(found, *block)
			}
			block = nil
		case block != nil:
			block.Text += line + "\n"
		}
	}
	return found
}

// Rows are the cells of every table below a heading ("### Members") up to the next heading
// of any level that begin with such a header.
func (p *Protocol) Rows(heading string, header ...string) [][]string {
	var rows [][]string
	inSection, inTable := false, false
	for _, line := range p.lines {
		if strings.HasPrefix(line, "#") {
			inSection = line == heading
		}
		cells, ok := cellsOf(line)
		switch {
		case !inSection || !ok:
			inTable = false
		case slices.Equal(cells, header):
			inTable = true
		case inTable && !strings.HasPrefix(cells[0], "---"):
			rows = append(rows, cells)
		}
	}
	return rows
}

func cellsOf(line string) ([]string, bool) {
	inner, ok := strings.CutPrefix(line, "|")
	if !ok {
		return nil, false
	}
	cells := strings.Split(strings.TrimSuffix(inner, "|"), "|")
	for i, c := range cells {
		cells[i] = strings.TrimSpace(c)
	}
	return cells, true
}

var quoted = regexp.MustCompile("`([^`]+)`")

// Quoted are the words of a text in backticks.
func Quoted(text string) []string {
	var words []string
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		words = append(words, m[1])
	}
	return words
}

// Line returns the first line that begins so.
func (p *Protocol) Line(heading, prefix string) string {
	inSection := false
	for _, line := range p.lines {
		if strings.HasPrefix(line, "#") {
			inSection = line == heading
		}
		if inSection && strings.HasPrefix(line, prefix) {
			return line
		}
	}
	return ""
}

// Codes are the documented codes, each with the HTTP statuses that go with it; none: no
// answer has the code.
func (p *Protocol) Codes() map[string][]int {
	codes := map[string][]int{}
	for _, row := range p.Rows("## Codes", "code", "HTTP", "meaning") {
		var statuses []int
		for status := range strings.SplitSeq(row[1], ",") {
			if n, err := strconv.Atoi(strings.TrimSpace(status)); err == nil {
				statuses = append(statuses, n)
			}
		}
		for _, code := range Quoted(row[0]) {
			codes[code] = statuses
		}
	}
	return codes
}

// SourceCodes are the codes that the Go files of a folder of the repository name: constants
// of a type called Code or OfferCode, and literals in a field of that name.
func SourceCodes(folder string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(root(), folder, "*.go"))
	if err != nil {
		return nil, err
	}
	var codes []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				if t := typeName(n.Type); t == "Code" || t == "OfferCode" {
					codes = append(codes, literals(n.Values...)...)
				}
			case *ast.KeyValueExpr:
				if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Code" {
					codes = append(codes, literals(n.Value)...)
				}
			}
			return true
		})
	}
	slices.Sort(codes)
	return slices.Compact(codes), nil
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func literals(values ...ast.Expr) []string {
	var all []string
	for _, v := range values {
		if lit, ok := v.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && s != "" {
				all = append(all, s)
			}
		}
	}
	return all
}
