package devnode

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// file is one file of a projected volume.
type file struct {
	data []byte
	mode os.FileMode
}

// payload is what a projected volume holds: files by slash-separated relative path.
type payload map[string]file

// projection is a directory whose content changes as a whole: a reader that opens a file sees it complete, either old
// or new, and one that resolves ..data first sees one generation of all files. It is laid out the way that kubelet
// does, which programs that watch for changes rely on:
//
//	key     -> ..data/key
//	..data  -> ..g2        replaced by rename(2)
//	..g2/key
//
// It is not safe for concurrent use.
type projection struct {
	dir        string
	current    payload
	generation int
}

const dataLink = "..data"

// write replaces the content. It does nothing if that is what the directory has already.
func (p *projection) write(content payload) error {
	if p.generation > 0 && reflect.DeepEqual(content, p.current) {
		return nil
	}
	next := fmt.Sprintf("..g%d", p.generation+1)
	if err := writeFiles(filepath.Join(p.dir, next), content); err != nil {
		return fmt.Errorf("project files: %w", err)
	}
	if err := replaceLink(next, filepath.Join(p.dir, dataLink)); err != nil {
		return fmt.Errorf("project files: %w", err)
	}
	old := fmt.Sprintf("..g%d", p.generation)
	p.generation++
	p.current = content
	if err := p.linkNames(content); err != nil {
		return fmt.Errorf("project files: %w", err)
	}
	if err := os.RemoveAll(filepath.Join(p.dir, old)); err != nil {
		return fmt.Errorf("remove files that are no longer projected: %w", err)
	}
	return nil
}

// linkNames makes the directory show exactly the first path element of every file.
func (p *projection) linkNames(content payload) error {
	shown := map[string]bool{}
	for path := range content {
		name, _, _ := strings.Cut(path, "/")
		if shown[name] {
			continue
		}
		shown[name] = true
		err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(p.dir, name))
		if err != nil && !os.IsExist(err) {
			return err
		}
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name := entry.Name(); !shown[name] && !strings.HasPrefix(name, "..") {
			if err := os.Remove(filepath.Join(p.dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func writeFiles(dir string, content payload) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for path, f := range content {
		path = filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.data, f.mode); err != nil {
			return err
		}
		if err := os.Chmod(path, f.mode); err != nil { // past the umask
			return err
		}
	}
	return nil
}

// replaceLink makes link point to target, without a moment at which it does not exist.
func replaceLink(target, link string) error {
	fresh := link + "_tmp"
	if err := os.Remove(fresh); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.Symlink(target, fresh); err != nil {
		return err
	}
	return os.Rename(fresh, link)
}
