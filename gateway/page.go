package gateway

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"
)

// mediaTypes of the page's files; the machine's own table may differ.
var mediaTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".png":  "image/png",
	".ico":  "image/x-icon",
	".json": typeJSON,
	".txt":  "text/plain; charset=utf-8",
}

// page serves the browser client. Its files are read once: they are the program's own.
type page struct {
	policy string
	files  map[string]file
}

type file struct {
	body            []byte
	etag, mediaType string
}

const indexFile = "index.html"

func newPage(files fs.FS, policy string) (*page, error) {
	p := &page{policy: policy, files: map[string]file{}}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		mediaType, ok := mediaTypes[path.Ext(name)]
		if !ok {
			mediaType = "application/octet-stream"
		}
		p.files[name] = file{body: body, etag: fmt.Sprintf(`"%x"`, sha256.Sum256(body)), mediaType: mediaType}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the page's files: %w", err)
	}
	if _, ok := p.files[indexFile]; !ok {
		return nil, fmt.Errorf("the page's files have no %s", indexFile)
	}
	return p, nil
}

func (p *page) routes() []route {
	return []route{
		{method: "GET", path: "/r/{namespace}/{room}", handle: func(w http.ResponseWriter, r *http.Request) error {
			return p.serve(w, r, indexFile)
		}},
		{method: "GET", path: "/web/{file...}", handle: func(w http.ResponseWriter, r *http.Request) error {
			return p.serve(w, r, r.PathValue("file"))
		}},
	}
}

func (p *page) serve(w http.ResponseWriter, r *http.Request, name string) error {
	f, ok := p.files[name]
	if !ok {
		return refuse(http.StatusNotFound, codeNotFound, "there is nothing here")
	}
	header := w.Header()
	header.Set("Content-Type", f.mediaType)
	header.Set("ETag", f.etag)
	header.Set("Cache-Control", "no-cache") // ask, and be told that it is the same
	header.Set("Content-Security-Policy", p.policy)
	header.Set("Permissions-Policy", "microphone=(self), camera=(), geolocation=()")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("X-Frame-Options", "DENY") // for those that do not know frame-ancestors
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(f.body))
	return nil
}
