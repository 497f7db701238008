// Package e2e proves Voiceroom on a real cluster, as its users meet it: helm installs it,
// kubectl applies rooms, WebRTC clients outside the pod network join through a NodePort and
// talk through hostPorts, and what can die does. `make e2e` runs it.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"voiceroom.dev/voiceroom/hack/cluster"
	"voiceroom.dev/voiceroom/hack/images"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
	"voiceroom.dev/voiceroom/hack/stack"
)

const (
	root      = "../.."
	chartPath = root + "/charts/voiceroom"
	// The installation, its namespaces, and the versions that it runs one after the other.
	release, systemNamespace, mediaNamespace = "voiceroom", "voiceroom-system", "voiceroom-media"
	firstVersion, nextVersion                = "e2e-1", "e2e-2"
	dialImage                                = "voiceroom-e2e-dial:e2e"
	// nodePort is the gateway's on every node.
	nodePort = 30080
)

// World is the cluster that the tests share, and the tools that they use it with.
type World struct {
	cluster       *cluster.Cluster
	client        client.Client
	config        *rest.Config
	helm, kubectl string // paths
	gateway       string // base URL
}

var world World

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrllog.SetLogger(logr.Discard())
	dir, err := os.MkdirTemp("", "voiceroom-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	logs, err := os.MkdirTemp("", "voiceroom-e2e-logs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if err := world.start(ctx, dir, logs); err != nil {
		fmt.Fprintf(os.Stderr, "starting the cluster: %v; its logs are in %s\n", err, logs)
		return 1
	}
	code := m.Run()
	if err := world.cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the cluster:", err)
		return 1
	}
	if code == 0 {
		_ = os.RemoveAll(logs)
	}
	return code
}

// start builds the images of two versions and starts a cluster of two nodes that have them.
func (w *World) start(ctx context.Context, dir, logs string) error {
	say := func(format string, args ...any) {
		fmt.Printf("%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
	}
	assets, err := kubebin.Ensure(ctx, os.Stderr, kubebin.ControlPlane()...)
	if err != nil {
		return err
	}
	w.kubectl = filepath.Join(assets, kubebin.Kubectl)
	if w.helm, err = tool(ctx, "helm"); err != nil {
		return err
	}
	say("building the images of two versions")
	var files []string
	for _, version := range []string{firstVersion, nextVersion} {
		built, err := images.Build(ctx, filepath.Join(dir, version), images.Options{Tag: version, Version: version, Progress: os.Stderr})
		if err != nil {
			return err
		}
		files = append(files, built...)
	}
	dial, err := buildDial(ctx, dir)
	if err != nil {
		return err
	}
	say("starting a cluster of two nodes")
	w.cluster, err = cluster.Start(ctx, cluster.Options{Nodes: 2, Images: append(files, dial), LogDir: logs, Progress: os.Stderr})
	if err != nil {
		return err
	}
	w.config = w.cluster.Config()
	w.config.QPS = -1                           // no limit of the client's own
	w.config.WarningHandler = rest.NoWarnings{} // of kinds that are listed though they are deprecated
	w.gateway = fmt.Sprintf("http://%s:%d", w.cluster.Nodes()[0].Address, nodePort)
	w.client, err = client.New(w.config, client.Options{Scheme: stack.Scheme()})
	if err != nil {
		return errors.Join(err, w.cluster.Stop())
	}
	say("the cluster is up")
	return nil
}

// tool is the path of a tool of hack/tools, built if need be.
func tool(ctx context.Context, name string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile=hack/tools/go.mod", "-n", name)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("building %s: %w", name, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// buildDial builds the image of ./dial.
func buildDial(ctx context.Context, dir string) (string, error) {
	binary, image := filepath.Join(dir, "dial"), filepath.Join(dir, "dial.tar")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "./dial")
	cmd.Env, cmd.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building the dialler: %w", err)
	}
	return image, images.Archive{Name: dialImage, Entrypoint: []string{"/dial"}, User: "65532:65532",
		Files: []images.File{{Path: "/dial", Source: binary, Mode: 0o755}}}.Write(image)
}
