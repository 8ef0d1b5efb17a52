package proxy

import (
	"context"
	"errors"
	"strings"

	"kproxy/internal/auth"
	"kproxy/internal/errlist"
	"kproxy/internal/tlsconf"
)

// CheckFiles reads the files and secrets that c names, as New does, and changes nothing.
// The error joins a [*ConfigError] for each that cannot be used. c need not be valid: so
// that all mistakes can be told at once. Those of Via are in Validate's error.
func (c *Config) CheckFiles() error {
	errs := []error{c.checkState()}
	for i := range c.Clusters {
		cluster := &c.Clusters[i]
		key := "clusters." + cluster.Name
		errs = append(errs, cluster.checkSecrets())
		if cluster.TLS != nil {
			errs = append(errs, tlsFileErrors(key, tlsconf.ClientConfig(*cluster.TLS).CheckFiles()))
		}
		for j := range cluster.Listeners {
			l := &cluster.Listeners[j]
			key := key + ".listeners." + l.Name
			if l.TLS != nil {
				errs = append(errs, tlsFileErrors(key, l.serverConfig(cluster.Name).CheckFiles()))
			}
			if l.Login != nil && l.Login.UsersFile != "" {
				_, err := openUsers(key, l.Login, nil)
				errs = append(errs, err)
			}
		}
	}
	return errlist.Join(errs...)
}

// checkSecrets reads what kproxy logs in with. Each login reads it again.
func (c *Cluster) checkSecrets() error {
	if c.SASL == nil {
		return nil
	}
	var errs []error
	for _, err := range errlist.Of(c.SASL.CheckFiles(context.Background())) {
		bad := &ConfigError{Key: "clusters." + c.Name + ".sasl", Problem: err.Error(), Fix: "name a file that kproxy may read, which holds the secret alone"}
		if file, ok := errors.AsType[*auth.FileError](err); ok {
			bad.Key += "." + file.Key
			if strings.HasSuffix(file.Key, "_env") {
				bad.Fix = "set the variable for kproxy, or have it read from a file"
			}
		}
		errs = append(errs, bad)
	}
	return errors.Join(errs...)
}

// tlsFileErrors gives the files of a section's tls that cannot be used their place in the
// configuration.
func tlsFileErrors(section string, err error) error {
	var errs []error
	for _, err := range errlist.Of(err) {
		bad := &ConfigError{Key: section + ".tls", Problem: err.Error(), Fix: "name a file in PEM that is there, and that kproxy may read"}
		if file, ok := errors.AsType[*tlsconf.FileError](err); ok {
			bad.Key += "." + file.Key
			bad.Fix = file.Fix()
		}
		errs = append(errs, bad)
	}
	return errors.Join(errs...)
}
