package mediapool

import (
	"os"

	corev1 "k8s.io/api/core/v1"
)

// traced are the variables that tell a media pod where its traces go: the operator's own. Which
// traces there are is decided before they reach the pod. Headers are not among them: they may
// hold credentials, and media pods hold none.
var traced = []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"}

// tracing is the part of a media pod's environment that is the operator's.
func tracing() []corev1.EnvVar {
	var env []corev1.EnvVar
	for _, name := range traced {
		if value := os.Getenv(name); value != "" {
			env = append(env, corev1.EnvVar{Name: name, Value: value})
		}
	}
	return env
}
