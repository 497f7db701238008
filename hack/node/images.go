//go:build linux

package node

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"voiceroom.dev/voiceroom/hack/images"
	"voiceroom.dev/voiceroom/hack/kubeassets/kubebin"
)

// Images that every node has; none can be pulled. objects.yaml names the one of DNS.
const (
	pauseImage = "docker.io/voiceroom-node/pause:1"
	dnsImage   = "docker.io/voiceroom-node/coredns:1"
)

// loadOwnImages makes those images and gives them to the nodes.
func (g *Group) loadOwnImages(ctx context.Context) error {
	pause := g.path("pause")
	if err := g.compile(ctx, "pause", pause); err != nil {
		return err
	}
	const nobody = "65535:65535"
	var files []string
	for _, archive := range []images.Archive{
		{Name: pauseImage, Entrypoint: []string{"/pause"}, User: nobody,
			Files: []images.File{{Path: "/pause", Source: pause, Mode: 0o755}}},
		{Name: dnsImage, Entrypoint: []string{"/coredns"}, User: nobody,
			Files: []images.File{{Path: "/coredns", Source: filepath.Join(g.tools.DNS, kubebin.CoreDNS), Mode: 0o755}}},
	} {
		file := g.path(filepath.Base(archive.Entrypoint[0]) + ".tar")
		if err := archive.Write(file); err != nil {
			return err
		}
		files = append(files, file)
	}
	for _, m := range g.nodes {
		if err := g.waitRuntime(ctx, m); err != nil {
			return err
		}
	}
	return g.LoadImages(ctx, files)
}

// LoadImages gives every node of the cluster whose state is in dir the images of files as `docker save` writes them.
func LoadImages(ctx context.Context, dir string, files []string) error {
	tools, err := kubebin.Ensure(ctx, io.Discard, kubebin.ContainerRuntime()...)
	if err != nil {
		return err
	}
	links, err := filepath.Glob(filepath.Join(dir, "*"+runtimeSuffix))
	if err != nil {
		return err
	}
	for _, link := range links {
		runtime, err := os.Readlink(link) // the link's own path may be too long for a socket
		if err != nil {
			return fmt.Errorf("find the nodes of the cluster: %w", err)
		}
		for _, file := range files {
			cmd := exec.CommandContext(ctx, filepath.Join(tools, kubebin.Ctr), "--address="+runtime, "--namespace=k8s.io",
				"images", "import", "--local", file)
			if said, err := cmd.CombinedOutput(); err != nil {
				node := strings.TrimSuffix(filepath.Base(link), runtimeSuffix)
				return fmt.Errorf("load %s into %s: %w: %s", file, node, err, said)
			}
		}
	}
	return nil
}
