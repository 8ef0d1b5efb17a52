package config

import (
	"errors"

	"kproxy/internal/errlist"
	"kproxy/internal/tlsconf"
)

// tls gives the mistakes of a section's tls their place in the file.
func (v *validator) tls(section string, err error) {
	for _, err := range errlist.Of(err) {
		v.tlsKey(section+".tls", err)
	}
}

func (v *validator) tlsKey(key string, err error) {
	if bad, ok := errors.AsType[*tlsconf.KeyError](err); ok {
		v.add(key+"."+bad.Key, bad.Problem, bad.Fix)
		return
	}
	v.add(key, err.Error(), "correct it")
}
