package config

import (
	"context"
	"errors"
	"strings"

	"kproxy/internal/auth"
	"kproxy/internal/errlist"
	"kproxy/internal/tlsconf"
	"kproxy/internal/via"
)

// CheckFiles reads the files and secrets that c names, as New does, and changes nothing.
// The error joins a [*ConfigError] for each that cannot be used. c need not be valid: so
// that all mistakes can be told at once. Those of Via are in Validate's error.
func (c *Config) CheckFiles() error {
	errs := []error{c.CheckState()}
	for i := range c.Clusters {
		cluster := &c.Clusters[i]
		key := "clusters." + cluster.Name
		errs = append(errs, cluster.CheckSecrets())
		if cluster.TLS != nil {
			errs = append(errs, TLSFileErrors(key, tlsconf.ClientConfig(*cluster.TLS).CheckFiles()))
		}
		for j := range cluster.Listeners {
			l := &cluster.Listeners[j]
			key := key + ".listeners." + l.Name
			if l.TLS != nil {
				errs = append(errs, TLSFileErrors(key, l.ServerConfig(cluster.Name).CheckFiles()))
			}
			if l.Login != nil && l.Login.UsersFile != "" {
				_, err := OpenUsers(key, l.Login, nil)
				errs = append(errs, err)
			}
		}
	}
	return errlist.Join(errs...)
}

// CheckSecrets reads what kproxy logs in with. Each login reads it again.
func (c *Cluster) CheckSecrets() error {
	if c.SASL == nil {
		return nil
	}
	var errs []error
	for _, err := range errlist.Of(c.SASL.CheckFiles(context.Background())) {
		bad := &Error{Key: "clusters." + c.Name + ".sasl", Problem: err.Error(), Fix: "name a file that kproxy may read, which holds the secret alone"}
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

// TLSFileErrors gives the files of a section's tls that cannot be used their place in the
// configuration.
func TLSFileErrors(section string, err error) error {
	var errs []error
	for _, err := range errlist.Of(err) {
		bad := &Error{Key: section + ".tls", Problem: err.Error(), Fix: "name a file in PEM that is there, and that kproxy may read"}
		if file, ok := errors.AsType[*tlsconf.FileError](err); ok {
			bad.Key += "." + file.Key
			bad.Fix = file.Fix()
		}
		errs = append(errs, bad)
	}
	return errors.Join(errs...)
}

// OpenUsers reads the users file of the listener that key names. The error is a
// [*ConfigError].
func OpenUsers(key string, conf *Login, failed func(error)) (*auth.Users, error) {
	users, err := auth.NewUsers(context.Background(), conf.UsersFile, conf.Mechanisms, failed)
	if err != nil {
		return nil, &Error{
			Key:     key + ".login.users_file",
			Problem: err.Error(),
			Fix:     "name a file that kproxy may read, with lines of kproxy passwd",
		}
	}
	return users, nil
}

// ServerConfig is the listener's TLS as package tlsconf takes it.
func (l *Listener) ServerConfig(cluster string) tlsconf.ServerConfig {
	c := tlsconf.ServerConfig{
		Name:       cluster + "/" + l.Name,
		ClientCA:   l.TLS.ClientCA,
		ClientAuth: tlsconf.ClientAuth(l.TLS.ClientAuth),
		Subjects:   l.TLS.Subjects,
		MinVersion: l.TLS.MinVersion,
		TicketKeys: l.TLS.TicketKeys,
	}
	for _, pair := range l.TLS.Certs {
		c.Certs = append(c.Certs, tlsconf.KeyPair(pair))
	}
	return c
}

// ViaConfig is the cluster's way through, without what only a running proxy has.
func (c *ClusterPlan) ViaConfig() via.Config {
	return via.Config{
		URL:            c.Via.URL,
		PasswordFile:   c.Via.PasswordFile,
		KeyFile:        c.Via.KeyFile,
		PassphraseFile: c.Via.PassphraseFile,
		KnownHosts:     c.Via.KnownHosts,
		SSH:            c.Parts.SSH,
	}
}
