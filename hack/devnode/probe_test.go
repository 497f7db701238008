package devnode

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestProbeOnce(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/bad", http.StatusFound)
		case "/bad":
			http.Error(w, "bad", http.StatusInternalServerError)
		case "/header":
			if r.Header.Get("X-Probe") != "yes" || r.Host != "pod.example" {
				http.Error(w, "who asks?", http.StatusForbidden)
			}
		case "/slow":
			<-r.Context().Done()
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	get := func(scheme corev1.URIScheme, path string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
			Scheme: scheme, Path: path, Port: intstr.FromString(strings.ToLower(string(scheme))),
			HTTPHeaders: []corev1.HTTPHeader{{Name: "X-Probe", Value: "yes"}, {Name: "host", Value: "pod.example"}},
		}}
	}
	dial := func(port string) corev1.ProbeHandler {
		return corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.Parse(port)}}
	}
	container := &corev1.Container{Ports: []corev1.ContainerPort{
		{Name: "http", ContainerPort: port(t, plain.Listener)},
		{Name: "https", ContainerPort: port(t, secure.Listener)},
		{Name: "closed", ContainerPort: port(t, closed)},
	}}
	for name, test := range map[string]struct {
		handler corev1.ProbeHandler
		want    string // in the error; empty for none
	}{
		"HTTP":               {get(corev1.URISchemeHTTP, "/"), ""},
		"HTTPS, self-signed": {get(corev1.URISchemeHTTPS, "/"), ""},
		"headers":            {get(corev1.URISchemeHTTP, "/header"), ""},
		"redirect":           {get(corev1.URISchemeHTTP, "/moved"), ""},
		"error":              {get(corev1.URISchemeHTTPS, "/bad"), "500"},
		"too slow":           {get(corev1.URISchemeHTTP, "/slow"), "deadline exceeded"},
		"TCP by number":      {dial(strconv.Itoa(int(port(t, plain.Listener)))), ""},
		"TCP refused":        {dial("closed"), "refused"},
		"no such port":       {dial("rtp"), "no port named rtp"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &probe{
				spec: &corev1.Probe{ProbeHandler: test.handler, TimeoutSeconds: 1}, container: container, podIP: "127.0.0.1",
			}
			err := p.once(t.Context())
			if (test.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// The thresholds decide how many answers in a row make a verdict.
func TestProbeWatchHeedsThresholds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	answers := []bool{false, true, false, true, true, true, false, true, false, false, true}
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		number := int(asked.Add(1))
		if number >= len(answers) {
			cancel()
			return
		}
		if !answers[number-1] {
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	type verdict struct {
		after int32
		good  bool
	}
	var got []verdict
	p := &probe{
		spec: &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Port: intstr.FromInt32(port(t, server.Listener)),
			}},
			TimeoutSeconds: int32(time.Minute / time.Second), SuccessThreshold: 2, FailureThreshold: 2,
		},
		container: &corev1.Container{}, podIP: "127.0.0.1",
	}
	p.watch(ctx, func(err error) { got = append(got, verdict{asked.Load(), err == nil}) })
	want := []verdict{{5, true}, {10, false}}
	if !slices.Equal(got, want) {
		t.Errorf("verdicts %v, want %v", got, want)
	}
}

func port(t *testing.T, l net.Listener) int32 {
	t.Helper()
	return int32(l.Addr().(*net.TCPAddr).Port)
}
