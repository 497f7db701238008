// Command prometheus prints the expressions of a dashboard as recording rules, for promtool
// to check them: promtool reads rules, not dashboards.
//
//	go run . dashboard.json > rules.yaml
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

type dashboard struct {
	Panels []struct {
		Targets []struct{ Expr string }
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("one file is needed, not %d", len(args))
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		return fmt.Errorf("reading %s: %w", args[0], err)
	}
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			rules = append(rules, rule{fmt.Sprintf("panel:%d", len(rules)), strings.ReplaceAll(t.Expr, "$__rate_interval", "5m")})
		}
	}
	if len(rules) == 0 {
		return fmt.Errorf("%s has no expressions", args[0])
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}}) // JSON is YAML
}
