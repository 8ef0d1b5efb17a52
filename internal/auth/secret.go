package auth

import (
	"context"
	"errors"
	"fmt"
	"os"

	"kproxy/internal/files"
)

// Secret is the place of a secret. One of its fields is set; the zero Secret is absent.
type Secret struct {
	File string // read again at every use, so that it can be replaced; see files.ReadSecret
	Env  string // the name of an environment variable
	Text string // the secret itself, as a command got it; a configuration file cannot set it
}

// maxSecret is larger than any password or token, and small enough that a wrong file does
// no harm.
const maxSecret = 1 << 20

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s == Secret{} }

// String does not reveal the secret, so that no log line and no error does.
func (s Secret) String() string { return "(secret)" }

// GoString is String for %#v.
func (s Secret) GoString() string { return s.String() }

// FileError reports a secret or its file that cannot be read.
type FileError struct {
	Key string // below sasl, such as password_file
	Err error  // names the file or the variable
}

// Error does not name the key.
func (e *FileError) Error() string { return e.Err.Error() }

func (e *FileError) Unwrap() error { return e.Err }

// CheckFiles reads the secrets that s names once, as logins do. The error joins a
// [*FileError] for each that cannot be read.
func (s *SASL) CheckFiles(ctx context.Context) error {
	var errs []error
	check := func(key string, err error) {
		if err != nil {
			errs = append(errs, &FileError{key, err})
		}
	}
	if s.Password.File != "" {
		_, err := Secret{File: s.Password.File}.Read(ctx)
		check("password_file", err)
	}
	if s.Password.Env != "" {
		_, err := Secret{Env: s.Password.Env}.Read(ctx)
		check("password_env", err)
	}
	if s.OAuth.ClientSecret.File != "" {
		_, err := s.OAuth.ClientSecret.Read(ctx)
		check("oauth.client_secret_file", err)
	}
	if s.OAuth.TokenFile != "" {
		_, err := readToken(ctx, s.OAuth.TokenFile)
		check("oauth.token_file", err)
	}
	return errors.Join(errs...)
}

// Read returns the secret. An error names its file or variable.
func (s Secret) Read(ctx context.Context) (string, error) {
	switch {
	case s.File != "":
		return files.ReadSecret(ctx, s.File, maxSecret)
	case s.Env != "":
		if text := os.Getenv(s.Env); text != "" {
			return text, nil
		}
		return "", fmt.Errorf("environment variable %s is empty", s.Env)
	case s.Text != "":
		return s.Text, nil
	default:
		return "", errors.New("no secret is configured")
	}
}
