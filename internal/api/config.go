package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Config is the body of /config.
type Config struct {
	File       string    `json:"file"`
	Generation int       `json:"generation"` // 1 at the start, one more with each reload
	Settings   []Setting `json:"settings"`   // in the order of the documentation
	LeftOut    int       `json:"left_out,omitempty"`
}

// IsComplete reports whether the body has the list that kproxy always sends.
func (c *Config) IsComplete() bool { return c.Settings != nil }

// Setting is the value of a key.
type Setting struct {
	Key      string `json:"key"`
	Value    string `json:"value"` // as in the file, without secrets
	From     From   `json:"from"`
	Line     int    `json:"line,omitempty"`     // of the file
	Variable string `json:"variable,omitempty"` // of the environment
}

// From is where a value comes from.
type From string

// The sources.
const (
	FromFile        From = "file"
	FromEnvironment From = "environment"
	FromDefault     From = "default"
)

// maxSettings is the most settings of a response: 10,000 listeners have some 300,000.
const maxSettings = 10_000

// configs serves /config.
type configs struct{ present func() Config }

// ServeHTTP responds with the configuration in use. ?key= selects a key and those below it, ?from= a
// source.
func (c configs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query, ok := queryOf(w, r)
	if !ok {
		return
	}
	key, from := "", From("")
	for name, values := range query {
		switch {
		case name == "key":
			key = values[0]
		case name == "from" && slices.Contains([]From{FromFile, FromEnvironment, FromDefault}, From(values[0])):
			from = From(values[0])
		case name == "from":
			write(w, http.StatusBadRequest, Problem{"from: there is no such source", "write file, environment or default"})
			return
		default:
			write(w, http.StatusBadRequest, Problem{clean(name) + ": there is no such parameter", "write one of key, from"})
			return
		}
	}
	body := c.present()
	body.Settings = slices.DeleteFunc(body.Settings, func(s Setting) bool {
		return from != "" && s.From != from || !s.isAt(key)
	})
	if n := len(body.Settings); n > maxSettings {
		body.Settings, body.LeftOut = body.Settings[:maxSettings], n-maxSettings
	}
	if body.Settings == nil {
		body.Settings = []Setting{}
	}
	write(w, http.StatusOK, body)
}

// isAt reports whether s is the key, or below it.
func (s *Setting) isAt(key string) bool {
	rest, ok := strings.CutPrefix(s.Key, key)
	return ok && (key == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Source is the place of a value in words: line 7, KPROXY_LOG_LEVEL, default.
func (s *Setting) Source() string {
	switch s.From {
	case FromFile:
		return "line " + strconv.Itoa(s.Line)
	case FromEnvironment:
		return s.Variable
	case FromDefault:
	}
	return string(s.From)
}
