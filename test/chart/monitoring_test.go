package chart

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What watches over Voiceroom is rendered only if it is asked for.
func TestMonitoring(t *testing.T) {
	all := map[string]int{"ServiceMonitor": 3, "PodMonitor": 1, "PrometheusRule": 1, "dashboard": 1}
	for name, test := range map[string]struct {
		values []string
		want   map[string]int
	}{
		"defaults":     {nil, map[string]int{}},
		"on":           {[]string{"--set", "monitoring.enabled=true"}, all},
		"no chat":      {[]string{"--set", "monitoring.enabled=true", "--set", "chat.enabled=false"}, map[string]int{"ServiceMonitor": 2, "PodMonitor": 1, "PrometheusRule": 1, "dashboard": 1}},
		"only scraped": {[]string{"--set", "monitoring.enabled=true", "--set", "monitoring.rules.enabled=false", "--set", "monitoring.dashboard.enabled=false"}, map[string]int{"ServiceMonitor": 3, "PodMonitor": 1}},
	} {
		got := map[string]int{}
		for _, o := range render(t, test.values...) {
			switch {
			case strings.HasPrefix(o.GetAPIVersion(), "monitoring.coreos.com/"):
				got[o.GetKind()]++
			case o.GetLabels()["grafana_dashboard"] != "":
				got["dashboard"]++
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// With a collector, operator and gateway are told of it, and media pods may reach it.
func TestTracing(t *testing.T) {
	told := func(values ...string) map[string]bool {
		got := map[string]bool{}
		for _, o := range render(t, values...) {
			template, ok := podTemplate(t, o)
			if !ok {
				continue
			}
			for _, e := range template.Spec.Containers[0].Env {
				if e.Name == "OTEL_EXPORTER_OTLP_ENDPOINT" && e.Value == "http://collector.obs.svc:4318" {
					got[o.GetName()] = true
				}
			}
		}
		return got
	}
	if got := told(); len(got) > 0 {
		t.Errorf("told of a collector that there is not: %v", got)
	}
	got := slices.Sorted(maps.Keys(told("--set", "tracing.endpoint=http://collector.obs.svc:4318")))
	if diff := cmp.Diff([]string{"voiceroom-gateway", "voiceroom-operator"}, got); diff != "" {
		t.Errorf("told of the collector (-want +got):\n%s", diff)
	}
}
