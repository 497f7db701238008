package images

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRecipeIsTheDockerfiles compares what this package does with what `docker build` would do.
func TestRecipeIsTheDockerfiles(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.ReplaceAll(string(content), "\\\n", ""), "\n")
	stage := lines[slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "FROM gcr.io/distroless/static") }):]
	find := func(in []string, pattern string) string {
		for _, line := range in {
			if match := regexp.MustCompile(pattern).FindStringSubmatch(line); match != nil {
				return match[1]
			}
		}
		t.Fatalf("the Dockerfile has no line %s", pattern)
		return ""
	}
	var entry []string
	if err := json.Unmarshal([]byte(find(stage, `^ENTRYPOINT (\[.*\])$`)), &entry); err != nil {
		t.Fatal(err)
	}
	got := archive("name", "binary")
	if diff := cmp.Diff(entry, got.Entrypoint); diff != "" {
		t.Errorf("entrypoint (-Dockerfile +image):\n%s", diff)
	}
	if want := find(stage, `^USER (.*)$`); got.User != want {
		t.Errorf("user %s, the Dockerfile says %s", got.User, want)
	}
	if want := find(stage, `^COPY --from=build \S+ (\S+)$`); !slices.ContainsFunc(got.Files, func(f File) bool { return f.Path == want && f.Source == "binary" }) {
		t.Errorf("the binary is not at %s", want)
	}
	build := find(lines, `^RUN (CGO_ENABLED=.*go build.*)$`)
	want := regexp.MustCompile(` +`).ReplaceAllString(build, " ")
	recipe := `CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags "` + flags +
		`${VERSION}" -o ` + entrypoint + ` "./cmd/${COMMAND}"`
	if diff := cmp.Diff(want, recipe); diff != "" {
		t.Errorf("build (-Dockerfile +image):\n%s", diff)
	}
	if want := find(lines, `COMMAND=([a-z|]+)`); want != strings.Join(Commands(), "|") {
		t.Errorf("commands %v, the Dockerfile says %s", Commands(), want)
	}
}

func TestBuildStampsTheVersion(t *testing.T) {
	dir := t.TempDir()
	files, err := Build(t.Context(), dir, Options{Commands: []string{"chat"}, Tag: "v9.9.9", Version: "v9.9.9"})
	if err != nil {
		t.Fatal(err)
	}
	outer := entries(t, files[0])
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(outer["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"voiceroom-chat:v9.9.9"}, manifest[0].RepoTags); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if outer[manifest[0].Config] == nil {
		t.Errorf("no configuration %s", manifest[0].Config)
	}
	layer := filepath.Join(dir, "layer.tar")
	if err := os.WriteFile(layer, outer[manifest[0].Layers[0]], 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "voiceroom")
	if err := os.WriteFile(binary, entries(t, layer)["voiceroom"], 0o700); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command(binary, "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(said), "v9.9.9") {
		t.Errorf("the program said %q, %v", said, err)
	}
}

func TestBuildSaysWhatFailed(t *testing.T) {
	_, err := Build(t.Context(), t.TempDir(), Options{Commands: []string{"nothing"}})
	if err == nil || !strings.Contains(err.Error(), "voiceroom-nothing:dev") || !strings.Contains(err.Error(), "cmd/nothing") {
		t.Errorf("got %v, want the image and the compiler's words", err)
	}
}

// entries returns the content of each regular file of a tar.
func entries(t *testing.T, path string) map[string][]byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	contents := map[string][]byte{}
	for r := tar.NewReader(file); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return contents
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		if contents[header.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
