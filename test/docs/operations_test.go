package docs

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const (
	rulesFile     = "charts/voiceroom/files/monitoring/rules.yaml"
	dashboardFile = "charts/voiceroom/files/monitoring/dashboard.json"
)

var (
	alertLine   = regexp.MustCompile(`(?m)^ +- alert: (\S+)$`)
	runbookLine = regexp.MustCompile(`(?m)^ +runbook_url: operations\.md#(\S+)$`)
	heading     = regexp.MustCompile(`(?m)^### (\S+)$`)
)

// TestRunbooks: each alert links to a runbook of its name, and each runbook has its alert.
func TestRunbooks(t *testing.T) {
	rules := read(t, rulesFile)
	_, runbooks, _ := strings.Cut(read(t, "docs/operations.md"), "\n## Runbooks\n")
	runbooks, _, _ = strings.Cut(runbooks, "\n## ")
	alerts, written := firsts(alertLine, rules), firsts(heading, runbooks)
	if len(alerts) < 10 {
		t.Fatalf("only %d alerts found", len(alerts))
	}
	if diff := cmp.Diff(alerts, written); diff != "" {
		t.Errorf("alerts and runbooks (-alert +runbook):\n%s", diff)
	}
	var anchors []string
	for _, a := range alerts {
		anchors = append(anchors, strings.ToLower(a))
	}
	if diff := cmp.Diff(anchors, firsts(runbookLine, rules)); diff != "" {
		t.Errorf("what the alerts link to (-want +got):\n%s", diff)
	}
}

func firsts(re *regexp.Regexp, text string) []string {
	var all []string
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	slices.Sort(all)
	return all
}

var (
	metricName    = regexp.MustCompile(`\bvoiceroom_[a-z_]+[a-z]`)
	documentedRow = regexp.MustCompile("(?m)^\\| `(voiceroom_[a-z_]+)` \\| ([a-z]+) \\|")
)

// TestMetricsOfTheDashboard: alerts and dashboard use no metric that docs/metrics.md does not
// list. What the processes show is compared with that list in test/system.
func TestMetricsOfTheDashboard(t *testing.T) {
	known := map[string]bool{}
	for _, row := range documentedRow.FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		known[row[1]] = true
		if row[2] == "histogram" {
			known[row[1]+"_bucket"], known[row[1]+"_count"], known[row[1]+"_sum"] = true, true, true
		}
	}
	used := map[string]bool{}
	for _, expr := range append(expressions(t), read(t, rulesFile)) {
		for _, name := range metricName.FindAllString(expr, -1) {
			used[name] = true
		}
	}
	if len(used) < 20 {
		t.Fatalf("only %d metrics found", len(used))
	}
	for name := range used {
		if !known[name] {
			t.Errorf("%s is used but not documented", name)
		}
	}
}

// expressions are those of the dashboard's panels.
func expressions(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, dashboardFile)), &dashboard); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %s shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, target.Expr)
		}
	}
	return all
}

var rightsRow = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| ([^|]*) \| ([a-z, ]+) \| ([^|]+) \|$`)

// TestRights: the table of rights has a reason for each verb that the generated roles grant,
// and for no other.
func TestRights(t *testing.T) {
	_, table, _ := strings.Cut(read(t, "docs/operations.md"), "\n## Rights\n")
	table, _, _ = strings.Cut(table, "\n## ")
	documented := map[string]bool{}
	for _, row := range rightsRow.FindAllStringSubmatch(table, -1) {
		for _, name := range strings.Split(row[3], ", ") {
			for _, verb := range strings.Split(row[4], ", ") {
				documented[strings.Join([]string{row[1], row[2], name, verb}, " | ")] = true
			}
		}
	}
	delete(documented, "who | resource | names | verbs")
	if diff := cmp.Diff(sorted(granted(t)), sorted(documented)); diff != "" {
		t.Errorf("rights (-granted +documented):\n%s", diff)
	}
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

// granted are the verbs of the roles in config/rbac, written as in the table.
func granted(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "config/rbac/*.yaml"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	all := map[string]bool{}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		decoder := yaml.NewYAMLOrJSONDecoder(f, 4096)
		for {
			var role rbacv1.Role // a ClusterRole has the same rules
			err := decoder.Decode(&role)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			who := strings.TrimSuffix(filepath.Base(path), ".yaml")
			if role.Kind == "Role" {
				who += " in " + role.Namespace
			}
			for _, rule := range role.Rules {
				addRule(all, who, rule)
			}
		}
		_ = f.Close()
	}
	return all
}

func addRule(all map[string]bool, who string, rule rbacv1.PolicyRule) {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			if group != "" {
				resource += "." + group
			}
			for _, name := range names {
				for _, verb := range rule.Verbs {
					all[strings.Join([]string{who, resource, name, verb}, " | ")] = true
				}
			}
		}
	}
}
