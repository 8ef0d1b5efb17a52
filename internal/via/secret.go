package via

import (
	"context"

	"kproxy/internal/files"
)

// MaxSecret bounds a file that holds a password, a passphrase or a key; an RSA key
// of 16,384 bits has 13 KB.
const MaxSecret = 64 << 10

// SecretFile is the path of a file that holds a secret. It is read for each login,
// so that a secret which has been replaced is used without a restart.
type SecretFile string

// Read returns the file's content as one secret, or "" if there is no file. The
// error names the file and nothing of its content.
func (f SecretFile) Read(ctx context.Context) (string, error) {
	if f == "" {
		return "", nil
	}
	return files.ReadSecret(ctx, string(f), MaxSecret)
}
