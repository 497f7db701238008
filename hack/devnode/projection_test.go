package devnode

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func text(s string) file { return file{data: []byte(s), mode: 0o644} }

func TestProjectionShowsWhatItIsGiven(t *testing.T) {
	p := &projection{dir: t.TempDir()}
	for _, content := range []payload{
		{},
		{"a": text("1"), "b": {data: []byte("secret"), mode: 0o400}},
		{"a": text("2"), "deep/er/file": text("3"), "deep/other": text("4")},
		{"deep": text("now a file")},
		{},
	} {
		if err := p.write(content); err != nil {
			t.Fatal(err)
		}
		got := payload{}
		visible, err := filepath.Glob(filepath.Join(p.dir, "[^.]*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range visible {
			read(t, p.dir, filepath.Base(name), got)
		}
		if diff := cmp.Diff(content, got, cmp.AllowUnexported(file{})); diff != "" {
			t.Errorf("content (-want +got):\n%s", diff)
		}
		generations, err := filepath.Glob(filepath.Join(p.dir, "..g*"))
		if err != nil || len(generations) != 1 {
			t.Errorf("generations %v, %v, want only the current one", generations, err)
		}
	}
}

// read collects path and what is below it into a payload, through links.
func read(t *testing.T, dir, path string, into payload) {
	t.Helper()
	full := filepath.Join(dir, path)
	info, err := os.Stat(full)
	if err != nil {
		t.Fatal(err)
	}
	if !info.IsDir() {
		data, err := os.ReadFile(full)
		if err != nil {
			t.Fatal(err)
		}
		into[path] = file{data: data, mode: info.Mode()}
		return
	}
	entries, err := os.ReadDir(full)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		read(t, dir, filepath.Join(path, entry.Name()), into)
	}
}

func TestProjectionKeepsUnchangedContent(t *testing.T) {
	p := &projection{dir: t.TempDir()}
	for range 3 {
		if err := p.write(payload{"a": text("1")}); err != nil {
			t.Fatal(err)
		}
	}
	if target, err := os.Readlink(filepath.Join(p.dir, dataLink)); err != nil || target != "..g1" {
		t.Errorf("..data points to %s, %v, want the first generation", target, err)
	}
}

// A reader that opens the generation once must see files that belong together, at any moment.
func TestProjectionChangesAsAWhole(t *testing.T) {
	p := &projection{dir: t.TempDir()}
	if err := p.write(payload{"a": text("x"), "b": text("x")}); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := os.ReadFile(filepath.Join(p.dir, "a")); err != nil && !os.IsNotExist(err) {
				t.Error(err)
				return
			}
			root, err := os.OpenRoot(filepath.Join(p.dir, dataLink))
			if err != nil {
				continue // resolved just before the old generation went
			}
			a, errA := root.ReadFile("a")
			b, errB := root.ReadFile("b")
			root.Close()
			if errA == nil && errB == nil && string(a) != string(b) {
				t.Errorf("read %q beside %q", a, b)
				return
			}
		}
	})
	for i := range 200 {
		content := text(string(rune('a' + i%26)))
		if err := p.write(payload{"a": content, "b": content}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
}
