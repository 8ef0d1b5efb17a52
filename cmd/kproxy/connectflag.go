package main

import (
	"errors"
	"strings"

	"kproxy/proxy/config"
)

// connectKeys are the flags from which connect makes keys of its configuration. The first
// prefix that fits decides.
var connectKeys = []struct{ key, flag string }{
	{"via_password_file", "--via-password-file"},
	{"via_key_file", "--via-key-file"},
	{"via_passphrase_file", "--via-passphrase-file"},
	{"via_known_hosts", "--via-known-hosts"},
	{"via", "--via"},
	{"dial", "--dial or --node"},
	{"bootstrap", "HOST:PORT"},
	{"tls.ca", "--ca"},
	{"tls.cert", "--cert"},
	{"tls.key", "--key"},
	{"tls", "--tls"},
	{"sasl.mechanism", "--sasl"},
	{"sasl.username", "--username"},
	{"sasl.password", "--password-file or --password-env"},
	{"sasl.oauth", "--token-file"},
	{"sasl", "--sasl"},
	{"listeners.local.bind", "--listen"},
	{"listeners.local.advertise", "--advertise"},
	{"listeners.local.nodes", "--port"},
}

// asFlags names flags in mistakes of the configuration that connect has made from them.
// It keeps one line for each, although there are two listeners.
func asFlags(err error) error {
	if err == nil {
		return nil
	}
	var errs []error
	for _, err := range unjoin(err) {
		bad, ok := errors.AsType[*config.Error](err)
		if !ok {
			errs = append(errs, err)
			continue
		}
		key := strings.TrimPrefix(bad.Key, "clusters.cluster.")
		if strings.HasPrefix(key, "listeners.local6.") {
			continue
		}
		for _, k := range connectKeys {
			if strings.HasPrefix(key, k.key) {
				key = k.flag
				break
			}
		}
		errs = append(errs, &config.Error{Key: key, Problem: bad.Problem, Fix: bad.Fix})
	}
	return errors.Join(errs...)
}
