package images

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Commands are the product's commands, each of which is an image.
func Commands() []string { return []string{"operator", "gateway", "media", "chat"} }

// Options says which images to build. The zero value is all commands, as voiceroom-<command>:dev.
type Options struct {
	// Commands are those to build; none is all.
	Commands []string
	// Repository is what names begin with; empty is "voiceroom". The image of a command is
	// <repository>-<command>:<tag>, as in the chart's values.
	Repository string
	// Tag of the images; empty is "dev".
	Tag string
	// Version is what the binaries call themselves; empty is what Go knows of the checkout.
	Version string
	// Dir is the checkout to build from; empty is the one that this process runs in. Another one gives the images of
	// another release.
	Dir string
	// Progress gets lines that say what takes time. Nil discards them.
	Progress io.Writer
}

// What the Dockerfile says too; a test compares.
const (
	entrypoint = "/voiceroom"
	user       = "65532:65532"
	flags      = "-s -w -X voiceroom.dev/voiceroom/cmd/internal/release.version="
)

// Build builds the images and writes each to a file in dir, which is made if need be. It returns the files in the order
// of the commands.
func Build(ctx context.Context, dir string, opts Options) ([]string, error) {
	opts = opts.withDefaults()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of images: %w", err)
	}
	work, err := os.MkdirTemp("", "voiceroom-images-")
	if err != nil {
		return nil, fmt.Errorf("make a directory to build in: %w", err)
	}
	defer os.RemoveAll(work)
	root, err := moduleRoot(ctx, opts.Dir)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, command := range opts.Commands {
		name := opts.Repository + "-" + command + ":" + opts.Tag
		fmt.Fprintf(opts.Progress, "building image %s\n", name)
		binary := filepath.Join(work, command)
		if err := compile(ctx, root, binary, command, opts.Version); err != nil {
			return nil, fmt.Errorf("build image %s: %w", name, err)
		}
		file := filepath.Join(dir, command+"-"+opts.Tag+".tar")
		if err := archive(name, binary).Write(file); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func (o Options) withDefaults() Options {
	if len(o.Commands) == 0 {
		o.Commands = Commands()
	}
	if o.Repository == "" {
		o.Repository = "voiceroom"
	}
	if o.Tag == "" {
		o.Tag = "dev"
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	return o
}

// moduleRoot returns the directory of the module that dir is in.
func moduleRoot(ctx context.Context, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOMOD")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask go for the module's directory: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

func compile(ctx context.Context, root, out, command, version string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", flags+version, "-o", out, "./cmd/"+command)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

// archive is the image of a command: its binary, and those files of the Dockerfile's base that it reads.
func archive(name, binary string) Archive {
	files := []File{
		{Path: "/etc/passwd", Content: "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n", Mode: 0o644},
		{Path: entrypoint, Source: binary, Mode: 0o755},
	}
	const authorities = "/etc/ssl/certs/ca-certificates.crt"
	if _, err := os.Stat(authorities); err == nil {
		files = append(files, File{Path: authorities, Source: authorities, Mode: 0o644})
	}
	return Archive{
		Name: name, Entrypoint: []string{entrypoint}, User: user, Files: files,
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SSL_CERT_FILE=" + authorities},
	}
}
