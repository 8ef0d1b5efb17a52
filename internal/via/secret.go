package via

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxSecret bounds a file that holds a password, a passphrase or a key; an RSA key
// of 16,384 bits has 13 KB.
const maxSecret = 64 << 10

// secretFile is the path of a file that holds a secret. It is read for each login,
// so that a secret which has been replaced is used without a restart.
type secretFile string

// read is the file's content without the newline at its end. The error names the
// file and nothing of what is in it.
func (f secretFile) read() (string, error) {
	if f == "" {
		return "", nil
	}
	content, err := f.bytes()
	return strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r"), err
}

func (f secretFile) bytes() ([]byte, error) {
	file, err := os.Open(string(f))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxSecret {
		return nil, fmt.Errorf("%s has more than %d bytes", f, maxSecret)
	}
	content = bytes.TrimPrefix(content, []byte("\ufeff")) // some editors put a BOM there
	if len(content) == 0 {
		return nil, fmt.Errorf("%s: %w", f, errEmpty)
	}
	return content, nil
}

var errEmpty = errors.New("the file is empty")
