package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

// An Archive is an image of one layer: a program and the files beside it.
type Archive struct {
	Name       string // name:tag
	Entrypoint []string
	User       string   // uid:gid; empty is root
	Env        []string // NAME=value
	Files      []File
}

// A File of the layer. Its directories are made without being named.
type File struct {
	Path    string // absolute
	Source  string // the file on this machine whose content it has; empty: Content
	Content string
	Mode    int64 // permission bits
}

// Write writes the image to path in the form of `docker save`. The same archive gives the same bytes.
func (a Archive) Write(path string) error {
	layer, err := a.layer()
	if err != nil {
		return fmt.Errorf("make image %s: %w", a.Name, err)
	}
	digest := func(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": a.Entrypoint, "User": a.User, "Env": a.Env},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
	if err != nil {
		return fmt.Errorf("make image %s: %w", a.Name, err)
	}
	configName := digest(config) + ".json"
	manifest, err := json.Marshal([]any{map[string]any{
		"Config": configName, "RepoTags": []string{a.Name}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return fmt.Errorf("make image %s: %w", a.Name, err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, part := range []struct {
		name    string
		content []byte
	}{{"manifest.json", manifest}, {configName, config}, {"layer.tar", layer}} {
		if err := put(w, tar.Header{Name: part.name, Mode: 0o644}, bytes.NewReader(part.content), int64(len(part.content))); err != nil {
			return fmt.Errorf("make image %s: %w", a.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("make image %s: %w", a.Name, err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write image %s: %w", a.Name, err)
	}
	return nil
}

// layer returns the tar of the files, each after the directories that it is in.
func (a Archive) layer() ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	var made []string
	for _, file := range a.Files {
		for _, dir := range parents(file.Path) {
			if slices.Contains(made, dir) {
				continue
			}
			made = append(made, dir)
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755}); err != nil {
				return nil, err
			}
		}
		if err := file.put(w); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// parents returns the directories above path but the root, the outermost first.
func parents(path string) []string {
	var dirs []string
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}

func (f File) put(w *tar.Writer) error {
	header := tar.Header{Name: f.Path[1:], Mode: f.Mode}
	if f.Source == "" {
		return put(w, header, bytes.NewReader([]byte(f.Content)), int64(len(f.Content)))
	}
	in, err := os.Open(f.Source)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	return put(w, header, in, info.Size())
}

func put(w *tar.Writer, header tar.Header, content io.Reader, size int64) error {
	header.Typeflag, header.Size = tar.TypeReg, size
	if err := w.WriteHeader(&header); err != nil {
		return err
	}
	_, err := io.Copy(w, content)
	return err
}
