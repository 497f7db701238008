package main

import (
	"fmt"
	"io"
	"strings"

	"voiceroom.dev/voiceroom/test/weak"
)

// table is one of Markdown.
type table struct{ rows [][]string }

func newTable(heading string, columns ...string) *table {
	rule := make([]string, len(columns)+1)
	for i := range rule {
		rule[i] = "---"
	}
	return &table{[][]string{append([]string{heading}, columns...), rule}}
}

// add adds a row of what show makes of each cell.
func (t *table) add(name string, cells []weak.Result, show func(weak.Result) string) {
	row := []string{name}
	for _, c := range cells {
		row = append(row, show(c))
	}
	t.rows = append(t.rows, row)
}

func (t *table) write(w io.Writer, title string) {
	_, _ = fmt.Fprintf(w, "\n**%s**\n\n", title)
	for _, row := range t.rows {
		_, _ = fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
}
