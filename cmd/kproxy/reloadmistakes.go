package main

import (
	"errors"

	"kproxy/internal/admin"
	"kproxy/internal/foreign"
	"kproxy/proxy/config"
)

// mistakesOf returns the mistakes in a file that an error of parseConfig or
// settings.mistakes joins; one at least.
func mistakesOf(file string, err error) []*admin.MistakeError {
	var all []*admin.MistakeError
	for _, err := range unjoin(err) {
		m := &admin.MistakeError{Problem: foreign.LineOf(err.Error(), maxErrorLine)}
		if found, ok := errors.AsType[*mistake](err); ok && found.at != (place{}) {
			m.File, m.Line, m.Column = file, found.at.line, found.at.column
			m.Problem = foreign.LineOf(found.Error(), maxErrorLine)
		}
		if bad, ok := errors.AsType[*config.Error](err); ok {
			m.File = file
			m.Key, m.Problem, m.Fix = foreign.LineOf(bad.Key, maxErrorLine), foreign.LineOf(bad.Problem, maxErrorLine), foreign.LineOf(bad.Fix, maxErrorLine)
		}
		all = append(all, m)
	}
	return all
}
