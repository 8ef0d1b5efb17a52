// Package page is the status page of a running kproxy, for a person with a browser: clusters, listeners and
// brokers with their addresses, the traffic of the last ten minutes, why sessions have ended, and the
// expiry of certificates.
//
// The type to know is [Page]. The whole page is rendered here, charts included, so that it is the same
// without JavaScript. With it (page.js), a browser asks for the page again every few seconds, and after each event
// of /api/v1/events, and changes the parts that differ. The document is complete in itself, and its
// Content-Security-Policy names its script and its style by their hashes.
//
// A Page admits everyone: package admin checks the token, the Host and the Origin before, and sets the headers that
// all of its responses have. The texts of brokers
// and clients are cleaned, cut and escaped, and the number of rows has a limit, whatever the cluster has.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"time"

	"kproxy/internal/events"
	"kproxy/internal/recent"
	"kproxy/proxy"
)

// Parts are everything that is shown.
type Parts struct {
	Topology func() proxy.Topology
	Recent   *recent.Sampler
	Events   *events.Ring
	// Ready says why kproxy is not ready, and its warnings, as /readyz does.
	Ready      func() (reasons, warnings []string)
	Generation func() int // of the configuration
	Version    string     // kproxy's own
	Started    time.Time
}

// Page serves the status page.
type Page struct{ parts Parts }

// New returns a Page.
func New(parts Parts) *Page { return &Page{parts} }

var (
	//go:embed status.html login.html
	documents embed.FS
	//go:embed page.css
	style string
	//go:embed page.js
	script string

	templates = template.Must(template.New("").Funcs(template.FuncMap{
		"style":   func() template.CSS { return template.CSS(style) }, //nolint:gosec // it is a file of this package
		"grouped": grouped,
		"script":  func() template.JS { return template.JS(script) }, //nolint:gosec // likewise
	}).ParseFS(documents, "*.html"))

	policy = "default-src 'none'; script-src " + hashOf(script) + "; style-src " + hashOf(style) +
		"; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

// hashOf names a text in a Content-Security-Policy.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// ServeHTTP responds with the page. ?cluster= shows that cluster alone.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	serve(w, http.StatusOK, "status.html", p.view(r, time.Now()))
}

// SignedIn is a Page for a browser that has logged in: it can log out, too.
func (p *Page) SignedIn(w http.ResponseWriter, r *http.Request) {
	v := p.view(r, time.Now())
	v.SignedIn = true
	serve(w, http.StatusOK, "status.html", v)
}

// LogIn responds with the form that asks for the token, and with a message about the token before; "": there was none.
func LogIn(w http.ResponseWriter, status int, message string) {
	serve(w, status, "login.html", struct{ Message string }{message})
}

func serve(w http.ResponseWriter, status int, name string, data any) {
	var body bytes.Buffer
	if err := templates.ExecuteTemplate(&body, name, data); err != nil {
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError) // a mistake in a template
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a client that is gone wants no response
}
