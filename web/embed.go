// Package web is the browser client: static files, served as they are.
//
// The page is static/index.html, which the gateway serves at
// /r/{namespace}/{room}; everything that it loads it asks for under /web/. There
// is no bundler and no build: the modules in static are what the browser runs.
// Types are JSDoc comments that tsc checks (npm run check); the pure modules have
// unit tests (npm test), and test/browser drives the page in real browsers.
//
// The files use no inline script, style or event handler, and load nothing from
// elsewhere, so that a Content-Security-Policy as strict as [Policy] holds.
package web

import (
	"embed"
	"io/fs"
)

//go:embed static
var static embed.FS

// Policy is the Content-Security-Policy that the page works under. Media goes
// over WebRTC, which no directive of CSP Level 3 covers.
const Policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Files are the static files: index.html and what it loads.
func Files() fs.FS {
	files, err := fs.Sub(static, "static")
	if err != nil {
		panic(err) // only for an invalid path, and this one is a constant
	}
	return files
}
