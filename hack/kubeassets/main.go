// Kubeassets prints a directory that holds the Kubernetes binaries which tests and the demo run, and gets them
// first if they are not there. Progress goes to stderr.
//
//	KUBEBUILDER_ASSETS=$(go run ./hack/kubeassets --for=test) go test ./...
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
)

func main() {
	purpose := flag.String("for", "demo",
		"what the binaries are for: apiserver (etcd, kube-apiserver, kubectl), test and demo (kube-controller-manager too), "+
			"or cluster (kube-scheduler, kubelet, kube-proxy too)")
	flag.Parse()
	names, ok := map[string][]string{
		"apiserver": kubebin.ControlPlane(),
		"test":      kubebin.All(),
		"demo":      kubebin.All(),
		"cluster":   kubebin.Cluster(),
	}[*purpose]
	if !ok || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	dir, err := kubebin.Ensure(ctx, os.Stderr, names...)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubeassets:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}
