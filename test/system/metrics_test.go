package system

import (
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/controllers/fleet"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/hack/stack"
)

// TestMetricsAreDocumented: docs/metrics.md lists what the processes show, of each the same
// names with the same types and labels, no more and no less.
func TestMetricsAreDocumented(t *testing.T) {
	r := newRoom(t, "measured")
	open(t, r)
	join(t, bot.Config{Room: r.Namespace + "/" + r.Name, Credential: guest(t, "Bob"), Name: "Bob"})
	var pod corev1.Pod
	must(t, system.Wait(t.Context(), r, patience, func() bool { return r.Status.Media != nil && r.Status.Members == 2 }))
	must(t, system.Client.Get(t.Context(), client.ObjectKey{Namespace: stack.MediaNamespace, Name: r.Status.Media.Pod}, &pod))
	until(t, "the back end was told", func() (bool, error) { // a counter has no sample before
		_, told := scrape(t, system.MetricsURL("operator"))["voiceroom_webhook_deliveries_total"]
		return told, nil
	})
	text, err := os.ReadFile("../../docs/metrics.md")
	must(t, err)
	for heading, url := range map[string]string{
		"Operator": system.MetricsURL("operator"), "Gateway": system.MetricsURL("gateway"), "Chat server": system.MetricsURL("chat"),
		"Media pod": "http://" + net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(fleet.HealthPort)) + "/metrics",
	} {
		_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
		if !found {
			t.Fatalf("no section %s", heading)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		if diff := cmp.Diff(documented(section), scrape(t, url)); diff != "" {
			t.Errorf("%s (-documented +shown):\n%s", heading, diff)
		}
	}
}

var documentedRow = regexp.MustCompile("(?m)^\\| `(voiceroom_[a-z_]+)` \\| ([a-z]+) \\|([a-z, ]*)\\|")

// documented are the rows of a section: type and labels by name.
func documented(section string) map[string]string {
	rows := map[string]string{}
	for _, row := range documentedRow.FindAllStringSubmatch(section, -1) {
		rows[row[1]] = describe(row[2], strings.Split(strings.ReplaceAll(row[3], " ", ""), ","))
	}
	return rows
}

func describe(kind string, labels []string) string {
	labels = slices.DeleteFunc(labels, func(l string) bool { return l == "" || l == "le" })
	slices.Sort(labels)
	return kind + " " + strings.Join(slices.Compact(labels), ",")
}

var (
	typeLine   = regexp.MustCompile(`(?m)^# TYPE (voiceroom_[a-z_]+) ([a-z]+)$`)
	sampleLine = regexp.MustCompile(`(?m)^(voiceroom_[a-z_]+)(?:\{(.*)\})? `)
	labelName  = regexp.MustCompile(`([a-z_]+)="`)
)

// scrape returns type and labels, by name, of what a process shows of its own.
func scrape(t *testing.T, url string) map[string]string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	must(t, err)
	res, err := http.DefaultClient.Do(req)
	must(t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	must(t, err)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: HTTP %d: %s", url, res.StatusCode, text)
	}
	labels := map[string][]string{}
	for _, s := range sampleLine.FindAllStringSubmatch(string(text), -1) {
		name := s[1]
		for _, l := range labelName.FindAllStringSubmatch(s[2], -1) {
			labels[name] = append(labels[name], l[1])
		}
	}
	shown := map[string]string{}
	for _, family := range typeLine.FindAllStringSubmatch(string(text), -1) {
		name := family[1]
		all := slices.Concat(labels[name], labels[name+"_bucket"])
		shown[name] = describe(family[2], all)
	}
	return shown
}
